"""The engine: tensor programs that train and predict packs of cells. It knows no database."""
