"""Pictures of a section, drawn without pyplot so that no global state and no display is touched."""
