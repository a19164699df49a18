"""What a command prints as a picture.

bnnbench run ... --budget quick --db quick.db > quick.txt
python docs/images/terminal.py docs/images/quick.svg < quick.txt
"""

import re
import sys

from rich.console import Console

lines = [line.rstrip() for line in sys.stdin]
text = re.sub(r"\n{2,}", "\n\n", "\n".join(lines)).strip()
console = Console(record=True, width=max(map(len, lines)) + 1, file=sys.stderr, highlight=False)
console.print(text, markup=False)
svg = console.export_svg(title="bnnbench run", unique_id="run")
svg = re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL)  # a picture fetches nothing
with open(sys.argv[1], "w", encoding="utf-8") as file:
    file.write(re.sub(r"[ \t]+$", "", svg, flags=re.MULTILINE))
