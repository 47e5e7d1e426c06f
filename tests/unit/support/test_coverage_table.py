"""The coverage table adds up the statements of each area."""

from __future__ import annotations

from tests.support.coverage_table import BEGIN, END, area, table, with_table


def file(statements: int, covered: int) -> dict[str, dict[str, int]]:
    return {"summary": {"num_statements": statements, "covered_lines": covered}}


def test_a_file_belongs_to_the_package_below_worker_or_tasks() -> None:
    paths = ("worker/errors.py", "worker/audio/mixing.py", "worker/audio/decoding/decode.py", "tasks/cli/run/run.py")
    assert [area(path) for path in paths] == ["worker", "worker/audio", "worker/audio", "tasks/cli"]


def test_statements_are_added_up_by_area() -> None:
    files = {
        "worker/errors.py": file(10, 10),
        "worker/audio/mixing.py": file(1000, 900),
        "worker/audio/decoding/decode.py": file(1000, 0),
        "tasks/empty/__init__.py": file(0, 0),
    }
    assert table({"files": files}).splitlines()[2:] == [
        "| tasks/empty | 0 | 100 % |",
        "| worker | 10 | 100 % |",
        "| worker/audio | 2,000 | 45 % |",
        "| all | 2,010 | 45 % |",
    ]


def test_a_table_replaces_the_one_before() -> None:
    page = with_table(with_table(f"before\n{BEGIN}\n{END}\nafter\n", "old"), "new")
    assert page == f"before\n{BEGIN}\nnew\n{END}\nafter\n"
