"""Datasets: row models, reading a folder or any CSV dialect, the bundled datasets, their dictionary."""

from metamiq.datasets.bundled import available_datasets, load_dataset
from metamiq.datasets.cells import CsvTable
from metamiq.datasets.csv_table import read_csv_table
from metamiq.datasets.datapackage import datapackage, write_datapackage
from metamiq.datasets.faults import Fault, FaultyDataError
from metamiq.datasets.models import ClaimRow, DropoutRow, ResultRow, TrialRow
from metamiq.datasets.reading import Dataset, read_dataset
from metamiq.datasets.study_models import PublishedRow, StudyRow
from metamiq.datasets.study_table import read_table

__all__ = [
    "ClaimRow",
    "CsvTable",
    "Dataset",
    "DropoutRow",
    "Fault",
    "FaultyDataError",
    "PublishedRow",
    "ResultRow",
    "StudyRow",
    "TrialRow",
    "available_datasets",
    "datapackage",
    "load_dataset",
    "read_csv_table",
    "read_dataset",
    "read_table",
    "write_datapackage",
]
