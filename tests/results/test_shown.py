"""What may be shown: addresses without secrets, and text that no terminal obeys."""

from __future__ import annotations

import pytest

from results.shown import shown, shown_address, visible, without_secrets

ACCOUNT = "account.dfs.core.windows.net"


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("runs/a", "runs/a"),
        ("runs/a@b?c#d", "runs/a@b?c#d"),
        ("s3://bucket/run@2026", "s3://bucket/run@2026"),
        ("s3://bucket/my run", "s3://bucket/my run"),
        ("10.0.0.1:6379", "10.0.0.1:6379"),
        ("ray://head:10001", "ray://head:10001"),
        ("s3://key:hidden@bucket/run?region=hidden", "s3://bucket/run"),
        ("s3://key:hid/den+/hidden=@bucket/run", "s3://bucket/run"),
        ("s3://key:hid?den@bucket/run", "s3://..."),
        ("s3://key:hidden", "s3://..."),
        ("S3://key:hidden@bucket/my run?x=hidden", "S3://bucket/my run"),
        ("gs://hidden@bucket/run", "gs://bucket/run"),
        ("https://user:hidden@host:8265/run?sig=hidden#hidden", "https://host:8265/run"),
        (f"abfs://container:hidden@{ACCOUNT}/run#hidden", f"abfs://container@{ACCOUNT}/run"),
        (f"abfs://:hidden@{ACCOUNT}/container/run", f"abfs://{ACCOUNT}/container/run"),
    ],
)
def test_an_address_is_shown_without_credentials_options_and_fragment(
    uri: str, expected: str
) -> None:
    assert shown_address(uri) == expected
    assert shown_address(expected) == expected
    if " " not in uri:
        assert without_secrets(f"received '{uri}', no more.") == f"received '{expected}', no more."


def test_every_address_of_a_text_is_shown_without_secrets() -> None:
    text = "cannot copy s3://k:hidden@a/b?sig=hidden (or gs://hidden@c/d) to http://e/f?g=hidden."
    assert without_secrets(text) == "cannot copy s3://a/b (or gs://c/d) to http://e/f."


@pytest.mark.parametrize("before", [*"'\"(=,:;/@é-+.1", "...", "--output=", "x"])
def test_an_address_is_found_behind_whatever_stands_before_it(before: str) -> None:
    text = f"{before}abfs://box:hidden@a/b?sig=hidden."
    assert without_secrets(text) == f"{before}abfs://{'' if before == 'x' else 'box@'}a/b."


@pytest.mark.timeout(60)  # each took many minutes
@pytest.mark.parametrize("text", ["a" * 1_000_000, "s3://" + "." * 1_000_000 + "x"])
def test_a_long_word_is_shown_as_it_is(text: str) -> None:
    assert shown(text) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("größe 日本 a\u0301 👩\u200d🔬", "größe 日本 a\u0301 👩\u200d🔬"),
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        ("\x1b]0;title\x07\x1b[2J", r"\x1b]0;title\x07\x1b[2J"),
        ("\x9b31m\x7f\r\b", r"\x9b31m\x7f\r\x08"),
        ("a\u202egnp.exe\u2066\u200e", r"a\u202egnp.exe\u2066\u200e"),
        ("a\u2028b\u2029c\x85", r"a\u2028b\u2029c\x85"),
        ("\udc80", r"\udc80"),
        ("\U000e0041", r"\U000e0041"),
        ("\x1b[1mDense got no input\x1b[0m", "Dense got no input"),  # as Keras writes it
    ],
)
def test_what_cannot_be_seen_is_written_out(text: str, expected: str) -> None:
    assert visible(text) == expected
    assert visible(expected) == expected


def test_what_is_shown_is_both() -> None:
    assert shown("\x1b s3://k:hidden@b/r") == r"\x1b s3://b/r"
