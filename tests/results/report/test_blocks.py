from results.report.blocks import blocks


def test_a_block_is_what_names_begin_with() -> None:
    names = ["conv1", "conv1_relu", "encoder/block_1/query", "encoder/block_1/key", "head"]
    assert blocks(names) == {
        "conv1": "conv1",
        "conv1_relu": "conv1",
        "encoder/block_1/query": "encoder",
        "encoder/block_1/key": "encoder",
        "head": "head",
    }


def test_large_blocks_are_split_by_the_next_word() -> None:
    parts = ("expand", "depthwise", "project")
    names = [f"block_{number}_{part}" for number in range(1, 6) for part in parts]
    assert blocks(names) == {name: name.rpartition("_")[0] for name in names}


def test_a_large_block_whose_names_only_count_stays_whole() -> None:
    names = [f"conv_{number}" for number in range(20)]
    assert set(blocks(names).values()) == {"conv"}
