import pyarrow as pa
import pytest

from results import INJECTIONS, OUTCOMES, PROVENANCE_COLUMNS, PURE_COLUMNS, TRIALS, trials_schema
from results.run_folder.schema import criteria_of, metrics_of

TRIAL_COLUMNS = [
    "trial_id",
    "cell_id",
    "layer",
    "layer_index",
    "layer_type",
    "target",
    "variable",
    "fault",
    "bit",
    "bit_field",
    "parameters",
    "probability",
    "count",
    "ber",
    "sampling",
    "protection",
    "bare_trial_id",
    "repetition",
    "sites",
    "samples",
    "injected",
    "masked",
    "benign",
    "sdc",
    "sdc_critical",
    "due",
    "due_changed",
    "detected",
    "accuracy",
    "golden_accuracy",
    "listed_as",
    "seconds",
    "worker",
    "finished_at",
]
RATES = ["probability", "count", "ber"]
NULLABLE = [
    *("variable", "bit", "bit_field", "parameters", *RATES),
    *("protection", "bare_trial_id", "detected", "listed_as"),
]
KIND, DUE = "target variable fault bit_field parameters", "due due_changed detected"
TEXT = pa.dictionary(pa.int32(), pa.string())


def test_trial_columns_are_those_of_the_design() -> None:
    assert TRIALS.names == TRIAL_COLUMNS


def test_injection_columns_are_those_of_the_design() -> None:
    assert INJECTIONS.names == [
        "trial_id",
        "layer",
        "sample",
        "variable",
        "element",
        "bit",
        "original",
        "corrupted",
        "outcome",
        "golden_class",
        "faulty_class",
    ]


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        (pa.uint64(), "trial_id cell_id bare_trial_id"),
        (TEXT, f"layer layer_type {KIND} sampling protection worker"),
        (pa.int32(), "layer_index repetition"),
        (pa.int16(), "bit"),
        (pa.float64(), "probability ber accuracy golden_accuracy seconds"),
        (pa.int64(), f"count sites samples injected masked benign sdc sdc_critical {DUE}"),
        (pa.timestamp("us", "UTC"), "finished_at"),
    ],
)
def test_trial_types(kind: pa.DataType, names: str) -> None:
    assert [field.name for field in TRIALS if field.type == kind] == names.split()


def test_only_what_may_not_apply_is_nullable() -> None:
    assert [field.name for field in TRIALS if field.nullable] == NULLABLE
    assert [field.name for field in INJECTIONS if field.nullable] == [
        "variable",
        "bit",
        "golden_class",
        "faulty_class",
    ]


@pytest.mark.parametrize("field", [*TRIALS, *INJECTIONS], ids=lambda field: field.name)
def test_every_field_is_described_in_one_sentence(field: pa.Field) -> None:
    description = field.metadata[b"description"].decode()
    assert description.endswith(".")
    assert description[0].isupper()


def test_pure_columns_leave_out_timing_and_worker() -> None:
    assert list(PURE_COLUMNS) == TRIAL_COLUMNS[:-4]
    assert list(PROVENANCE_COLUMNS) == TRIAL_COLUMNS[-4:]


def test_outcomes_are_columns() -> None:
    assert OUTCOMES == ("masked", "benign", "sdc", "due")
    assert set(OUTCOMES) < set(TRIALS.names)


def test_metrics_and_criteria_are_the_last_columns() -> None:
    schema = trials_schema(["metric_top5_accuracy", "sdc_top5"])
    assert schema.names == [*TRIAL_COLUMNS, "metric_top5_accuracy", "sdc_top5"]
    assert [field.type for field in schema][-2:] == [pa.float64(), pa.int64()]
    assert [field.nullable for field in schema][-2:] == [False, False]
    assert [field.metadata[b"description"].decode() for field in schema][-2:] == [
        "Mean of the metric top5_accuracy over all samples.",
        "Injected samples that meet the criterion top5.",
    ]


def test_no_metrics_leave_the_schema_as_it_is() -> None:
    assert trials_schema(()) is TRIALS


def test_schema_does_not_depend_on_the_order_of_metrics() -> None:
    columns = ["sdc_top5", "metric_b", "sdc_confidence_0.5", "metric_a"]
    names = ["metric_a", "metric_b", "sdc_confidence_0.5", "sdc_top5"]
    assert trials_schema(columns).names == [*TRIAL_COLUMNS, *names]
    assert trials_schema(columns[::-1]).equals(trials_schema(columns), check_metadata=True)


def test_columns_of_metrics_and_of_criteria_are_told_apart() -> None:
    schema = trials_schema(["sdc_top5", "metric_sdc_a", "metric_b"])
    assert (metrics_of(schema), criteria_of(schema)) == (
        ("metric_b", "metric_sdc_a"),
        ("sdc_top5",),
    )
    assert (metrics_of(TRIALS), criteria_of(TRIALS)) == ((), ())


@pytest.mark.parametrize(
    "name", ["accuracy", "top5", "metric_", "sdc_", "Metric_a", "", "samples_"]
)
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"'{name}' names no column of a metric or a criterion"):
        trials_schema(["metric_a", name])


@pytest.mark.parametrize(
    "columns",
    [
        ["metric_a", "sdc_b", "metric_a"],
        ["sdc_critical"],
        ["sdc_rate"],
        ["sdc_low"],
        ["sdc_high"],
        ["sdc_a", "sdc_a_high"],
    ],
)
def test_name_that_another_column_has_is_refused(columns: list[str]) -> None:
    with pytest.raises(ValueError, match=f"'{columns[-1]}' would be there twice"):
        trials_schema(columns)


def test_metric_may_be_named_like_a_rate() -> None:
    names = ["metric_a", "metric_a_rate", "metric_sdc_rate"]
    assert trials_schema(names).names[-3:] == names
