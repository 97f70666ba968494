import runpy
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_page_of_the_command_line_is_up_to_date():
    page = runpy.run_path(str(ROOT / "scripts" / "docs-cli"))["page"]()
    assert (ROOT / "docs" / "cli.md").read_text(encoding="utf-8") == page, "run scripts/docs-cli > docs/cli.md"
