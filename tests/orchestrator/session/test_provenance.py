"""Provenance is read without running what a repository's settings name."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from orchestrator.session.provenance import provenance


def git(folder: Path, *words: str) -> str:
    person = ["-c", "user.name=One", "-c", "user.email=one@example.org"]
    done = subprocess.run(
        ["git", "-C", str(folder), *person, *words], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    (folder / "inner").mkdir(parents=True)
    git(folder, "init", "--quiet")
    (folder / "inner" / "a.yaml").write_text("seed: 1\n")
    (folder / "tables.py").write_text("X = 1\n")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "One")
    return folder


def state(folder: Path, *files: Path) -> dict[str, object]:
    found = provenance(folder, files)["git"]
    assert isinstance(found, dict)
    return found


def test_the_commit_is_told_and_whether_files_of_the_campaign_are_as_in_it(
    repository: Path,
) -> None:
    commit = git(repository, "rev-parse", "HEAD")
    files = [repository / "inner" / "a.yaml", repository / "tables.py"]
    inner = repository / "inner"
    assert state(inner, *files) == {"commit": commit, "dirty": False}
    (repository / "other.txt").write_text("not of the campaign")
    assert state(inner, *files) == {"commit": commit, "dirty": False}
    files[1].write_text("X = 2\n")
    assert state(inner, *files) == {"commit": commit, "dirty": True}
    assert state(inner, files[0]) == {"commit": commit, "dirty": False}
    assert state(inner, files[0], repository / "other.txt") == {"commit": commit, "dirty": True}


def test_git_is_asked_for_all_files_together(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [repository / "inner" / f"{number} *[ü]\n.py" for number in range(50)]
    for file in files:
        file.write_text(file.name)
    git(repository, "add", ".")
    git(repository, "commit", "--quiet", "--message", "Two")
    asked: list[object] = []
    run = subprocess.run

    def counted(*arguments: Any, **options: Any) -> Any:
        asked.append(arguments)
        return run(*arguments, **options)

    monkeypatch.setattr(subprocess, "run", counted)
    assert state(repository, *files)["dirty"] is False
    assert len(asked) == 2
    files[30].write_text("other")
    assert state(repository, *files)["dirty"] is True


@pytest.mark.parametrize("name", ["a\nb", "a\u2028b", "a\x1db", "a\rb"])
def test_a_folder_may_hold_a_separator_in_its_name(repository: Path, name: str) -> None:
    moved = repository.rename(repository.with_name(name))
    commit = git(moved, "rev-parse", "HEAD")
    assert state(moved, moved / "tables.py") == {"commit": commit, "dirty": False}
    (moved / "tables.py").write_text("X = 2\n")
    assert state(moved, moved / "tables.py") == {"commit": commit, "dirty": True}


def test_ends_of_lines_and_files_elsewhere_make_nothing_dirty(
    repository: Path, tmp_path: Path
) -> None:
    (repository / "tables.py").write_bytes(b"X = 1\r\n")
    (tmp_path / "elsewhere.py").write_text("")
    assert not state(repository, repository / "tables.py", tmp_path / "elsewhere.py")["dirty"]


def test_a_folder_without_a_repository_and_one_without_a_commit_have_no_state(
    tmp_path: Path,
) -> None:
    assert provenance(tmp_path)["git"] is None
    git(tmp_path, "init", "--quiet")
    assert provenance(tmp_path)["git"] is None


def test_a_repository_that_a_hook_of_git_works_on_is_not_taken(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other").mkdir()
    git(tmp_path / "other", "init", "--quiet")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other" / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "index"))
    assert provenance(repository)["git"] is not None


@pytest.fixture
def mark(tmp_path: Path) -> tuple[Path, Path]:
    """A program that leaves a mark, and the mark."""
    program, left = tmp_path / "program", tmp_path / "mark"
    program.write_text(f"#!/bin/sh\ntouch '{left}'\ncat\n")
    program.chmod(0o755)
    return program, left


SETTINGS = {
    "core.fsmonitor": "{}",
    "core.hooksPath": "{folder}",
    "core.sshCommand": "{}",
    "core.pager": "{}",
    "pager.ls-tree": "{}",
    "pager.rev-parse": "{}",
    "core.editor": "{}",
    "core.askPass": "{}",
    "core.gitProxy": "{}",
    "core.alternateRefsCommand": "{}",
    "credential.helper": "{}",
    "diff.external": "{}",
    "diff.x.textconv": "{}",
    "diff.x.command": "{}",
    "merge.x.driver": "{}",
    "filter.x.clean": "{}",
    "filter.x.smudge": "{}",
    "filter.x.process": "{}",
    "filter.x.required": "true",
    "gpg.program": "{}",
    "log.showSignature": "true",
    "alias.rev-parse": "!{}",
    "alias.ls-tree": "!{}",
    "remote.origin.url": "ext::{} %S",
    "remote.origin.promisor": "true",
    "remote.origin.uploadpack": "{}",
    "extensions.partialClone": "origin",
    "protocol.allow": "always",
    "protocol.ext.allow": "always",
}


@pytest.mark.parametrize("lacking", [False, True])
def test_no_program_that_a_repository_names_is_run(
    repository: Path, mark: tuple[Path, Path], lacking: bool
) -> None:
    program, left = mark
    commit = git(repository, "rev-parse", "HEAD")
    tree = git(repository, "rev-parse", "HEAD:inner")
    (repository / ".git" / "info").mkdir(exist_ok=True)
    (repository / ".git" / "info" / "attributes").write_text("* filter=x diff=x merge=x\n")
    for hook in ("post-index-change", "fsmonitor-watchman", "reference-transaction"):
        (program.parent / hook).write_bytes(program.read_bytes())
        (program.parent / hook).chmod(0o755)
    git(repository, "config", "core.repositoryFormatVersion", "1")
    for name, value in SETTINGS.items():
        git(repository, "config", name, value.format(program, folder=program.parent))
    if lacking:  # a partial clone would fetch it
        (repository / ".git" / "objects" / tree[:2] / tree[2:]).unlink()
    (repository / "tables.py").write_text("X = 2\n")
    files = [repository / "inner" / "a.yaml", repository / "tables.py"]
    left.unlink(missing_ok=True)
    assert state(repository, *files) == {"commit": commit, "dirty": True}
    assert not left.exists()
    subprocess.run(["git", "-C", str(repository), "status"], capture_output=True, check=False)
    assert left.exists()  # as it was before


def test_a_linked_worktree_and_a_submodule_have_their_own_commit(
    repository: Path, tmp_path: Path
) -> None:
    git(repository, "worktree", "add", "--quiet", "-b", "side", str(tmp_path / "side"))
    (tmp_path / "side" / "tables.py").write_text("X = 3\n")
    git(tmp_path / "side", "commit", "--quiet", "--all", "--message", "Two")
    commits = [git(folder, "rev-parse", "HEAD") for folder in (repository, tmp_path / "side")]
    assert commits[0] != commits[1]
    assert [state(one)["commit"] for one in (repository, tmp_path / "side")] == commits


def test_versions_of_what_code_imports_are_told_by_the_names_of_packages(tmp_path: Path) -> None:
    told = provenance(tmp_path, packages={"yaml", "numpy", "no_such_module"})["packages"]
    assert told["PyYAML"]
    assert told["numpy"]
    assert told["no_such_module"] is None
