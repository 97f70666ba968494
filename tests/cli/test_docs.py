import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_page_of_the_command_line_is_up_to_date():
    # In a process of its own: click remembers the help option of a command that was once called on its own.
    script = [sys.executable, str(ROOT / "scripts" / "docs-cli")]
    page = subprocess.run(script, capture_output=True, text=True, encoding="utf-8", check=True, timeout=60).stdout
    assert (ROOT / "docs" / "cli.md").read_text(encoding="utf-8") == page, "run scripts/docs-cli > docs/cli.md"
