import json
import shlex

from tests.tiny import BACKBONE, write_folder


def test_advise_and_its_commands_lead_on(featx, here):
    write_folder(here / "photos", per_class=12)
    options = ("--label-pattern", r"(blue|green|red)/0\d+\.", "--image-size", "40", "--std", "0.5,0.25,0.5")
    featx("extract", "photos", "--backbone", BACKBONE, "--engine", "torch", *options)
    first = featx("advise", "photos", "--cv", "3")
    assert f"small data, similar to what {BACKBONE} was trained on: train a head" in first.out
    assert "note: there is no store of an earlier layer" in first.err
    line = next(line for line in first.out.splitlines() if "extract" in line)
    words = shlex.split(line)
    assert words[3:5] == list(options[:2])
    featx(*words[1:], "--engine", "torch")
    second = featx("advise", first.out.split("featx advise ")[1].split()[0], "--cv", "3")
    assert "no store of an earlier layer" not in second.err
    assert "from conv2 to output, logistic regression goes from " in second.out
    lines = [line.split() for line in second.out.splitlines()]
    assert [words[:3] for words in lines if words[:1] in (["conv2"], ["output"])] == [
        ["conv2", "avg", "16"],
        ["output", "none", "5"],
    ]
    answer = json.loads(featx("advise", first.out.split("featx advise ")[1].split()[0], "--cv", "3", "--json").out)
    assert (answer["size"], answer["early"], answer["n"], answer["classes"]) == ("small", "conv2", 36, 3)
    assert [one["layer"] for one in answer["layers"]] == ["conv2", "output"]
    assert answer["steps"][0]["command"].startswith("featx sweep ")


def test_what_is_wrong_is_one_line(featx, here):
    write_folder(here / "photos", per_class=3)
    featx("extract", "photos", "--backbone", BACKBONE, "--engine", "torch", "--pool", "none")
    assert "advice is on vectors" in featx.fails("advise", "photos")
    assert "neither a file nor a store" in featx.fails("advise", "pictures")
