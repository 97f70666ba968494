import json

from tests.tiny import BACKBONE, picture, write_folder

WORDS = ("photos", "--backbone", BACKBONE)


def test_explain_and_plan(featx, here):
    write_folder(here / "photos", per_class=4)
    answer = featx("explain", *WORDS, code=1)
    assert "a miss; there is no store of this source or spec" in answer.out
    assert featx("plan", *WORDS).out.startswith("12 rows, 0 of them in the cache as they are, 12 to work on\n")
    path = featx("extract", *WORDS).out.splitlines()[0]
    assert featx("explain", *WORDS).out == f"{path}\n  a hit: all 12 samples are as they were\n"
    assert featx("plan", *WORDS).out.endswith("nothing to compute\n")
    answer = featx("explain", *WORDS, "--pool", "max", code=1)
    assert f"the nearest store is {path}, which differs in" in answer.out
    assert "    pool: 'max' against 'none' (asked for against there)" in answer.out
    picture(5).save(here / "photos" / "red" / "a\nb.png")
    answer = featx("explain", *WORDS, code=1)
    assert answer.out.splitlines()[1:] == ["  not as it was; 12 samples are unchanged", "  1 new: red/a\\nb.png"]
    (as_json,) = json.loads(featx("explain", *WORDS, "--json", code=1).out)
    assert (as_json["hit"], as_json["new"], as_json["path"]) == (False, ["red/a\nb.png"], path)
    assert json.loads(featx("plan", *WORDS, "--json").out)["to_read"] == 1
