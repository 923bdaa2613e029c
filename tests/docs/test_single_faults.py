"""The guide's page on single faults prints what it says."""

from __future__ import annotations

from tests.docs.pages import blocks, example_is_that_of_the_docs, follow


def test_the_page_prints_what_it_says() -> None:
    follow(blocks("docs/guide/single-faults.md"), exact=example_is_that_of_the_docs())
