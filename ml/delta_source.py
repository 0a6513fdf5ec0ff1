"""Feast's name for a published Delta table of the lake. Only a name: where the lake is and which
version to read belong to the offline store's configuration, so that a registry can move with its lake.
"""

import json
from collections.abc import Callable, Iterable
from typing import Any

from feast import ValueType
from feast.data_source import DataSource
from feast.protos.feast.core.DataSource_pb2 import DataSource as DataSourceProto
from feast.repo_config import RepoConfig

from ml.lake import PARTITION_KEY


class DeltaSource(DataSource):
    """The published table `table`, such as aircraft_state, with its two time columns."""

    def __init__(self, *, name: str, table: str, **options: Any) -> None:
        super().__init__(name=name, **options)
        self.table = table

    def source_type(self) -> DataSourceProto.SourceType.ValueType:
        """Return Feast's mark of a source that is not its own."""
        return DataSourceProto.CUSTOM_SOURCE

    @staticmethod
    def from_proto(data_source: DataSourceProto) -> "DeltaSource":
        """Rebuild the source from Feast's registry."""
        return DeltaSource(
            name=data_source.name,
            table=json.loads(data_source.custom_options.configuration)["table"],
            timestamp_field=data_source.timestamp_field,
            created_timestamp_column=data_source.created_timestamp_column,
            field_mapping=dict(data_source.field_mapping),
            description=data_source.description,
            tags=dict(data_source.tags),
            owner=data_source.owner,
        )

    def _to_proto_impl(self) -> DataSourceProto:
        return DataSourceProto(
            name=self.name,
            type=DataSourceProto.CUSTOM_SOURCE,
            data_source_class_type="ml.delta_source.DeltaSource",
            custom_options=DataSourceProto.CustomSourceOptions(
                configuration=json.dumps({"table": self.table}).encode()
            ),
            timestamp_field=self.timestamp_field,
            created_timestamp_column=self.created_timestamp_column,
            field_mapping=self.field_mapping,
            description=self.description,
            tags=self.tags,
            owner=self.owner,
        )

    def validate(self, config: RepoConfig) -> None:
        """Accept: feature views come from dbt's manifest, and their tables may be published later."""

    def get_table_column_names_and_types(self, config: RepoConfig) -> Iterable[tuple[str, str]]:
        """Return the published table's columns and Delta types, its partition column left out."""
        from ml.feature_tables import FeatureTables

        fields = FeatureTables(config).published(self).schema().fields
        return [(field.name, str(field.type)) for field in fields if field.name != PARTITION_KEY]

    @staticmethod
    def source_datatype_to_feast_value_type() -> Callable[[str], ValueType]:
        """Refuse: see `get_table_column_names_and_types`."""
        raise NotImplementedError("types of features are declared in dbt; give the feature view its schema")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DeltaSource) and self.table == other.table and super().__eq__(other)

    def __hash__(self) -> int:
        return super().__hash__()
