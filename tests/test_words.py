from featx._words import age, counted, size


def test_sizes_ages_and_counts_for_people():
    sizes = [size(n) for n in (0, 999, 1000, 99_900, 123_456, 9_400_000, 5e12)]
    assert sizes == ["0 B", "999 B", "1.0 KB", "99.9 KB", "123 KB", "9.4 MB", "5.0 TB"]
    assert [age(s) for s in (-1, 5, 120, 7200, 200_000)] == ["0 s", "5 s", "2 min", "2 h", "2 d"]
    assert [counted(1, "class", "classes"), counted(2, "class", "classes"), counted(1200, "row")] == [
        "1 class",
        "2 classes",
        "1,200 rows",
    ]
