import logging
import sys
import warnings

from featx._quiet import quiet, quiet_pillow


def test_nothing_is_printed_or_logged(capsys, caplog):
    logger = logging.getLogger("some.package")
    logger.setLevel(logging.INFO)
    with quiet("some"), quiet("some.package"):
        print("text")
        print("bar", file=sys.stderr)
        logger.error("log")
    assert capsys.readouterr() == ("", "")
    assert caplog.text == ""
    assert logger.level == logging.INFO
    logger.error("again")
    assert "again" in caplog.text


def test_progress_is_seen_on_a_terminal(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with quiet():
        print("bar", file=sys.stderr)
    assert capsys.readouterr() == ("", "bar\n")


def test_pillows_warnings_are_kept_in_and_others_are_not():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with quiet_pillow():
            with quiet_pillow():
                pass
            warnings.warn_explicit("of Pillow", UserWarning, "f", 1, module="PIL.Image")
            warnings.warn_explicit("of another", UserWarning, "f", 1, module="PILLAR")
        warnings.warn_explicit("afterwards", UserWarning, "f", 1, module="PIL.Image")
    assert [str(each.message) for each in caught] == ["of another", "afterwards"]
