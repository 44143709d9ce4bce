"""Pipeline versions get a table: the long signature is stored once, and people see a short name.

What Label Studio holds already keeps its signature as its name, so that it is still recognised there.
Predictions can be found by their pipeline and from what refers to them, so that old ones can be deleted.
"""

import hashlib
import re
from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_PIPELINES = sa.table(
    "pipelines",
    sa.column("id", sa.Integer()),
    sa.column("signature", sa.Text()),
    sa.column("name", sa.Text()),
    sa.column("created_at", sa.DateTime(timezone=True)),
)
_REFERENCES = (
    ("annotations", "prediction_id"),
    ("review_items", "prediction_id"),
    ("corrections", "projected_entity_id"),
)


def upgrade() -> None:
    op.create_table(
        "pipelines",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("signature", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_pipelines")),
        sa.UniqueConstraint("signature", name=op.f("uq_pipelines_signature")),
        sa.UniqueConstraint("name", name=op.f("uq_pipelines_name")),
    )
    _carry_over()
    with op.batch_alter_table("projects") as batch:
        batch.add_column(sa.Column("pipeline_id", sa.Integer(), nullable=True))
        batch.create_foreign_key(op.f("fk_projects_pipeline_id"), "pipelines", ["pipeline_id"], ["id"])
    op.execute(
        "UPDATE projects SET pipeline_id = (SELECT id FROM pipelines WHERE signature = projects.pipeline) "
        "WHERE pipeline IS NOT NULL"
    )
    with op.batch_alter_table("projects") as batch:
        batch.drop_column("pipeline")

    op.add_column("predictions", sa.Column("pipeline_id", sa.Integer(), nullable=True))
    op.execute(
        "UPDATE predictions SET pipeline_id = (SELECT id FROM pipelines WHERE signature = predictions.pipeline)"
    )
    with op.batch_alter_table("predictions") as batch:
        batch.drop_constraint(op.f("uq_predictions_task_id_pipeline"), type_="unique")
        batch.drop_column("pipeline")
        batch.alter_column("pipeline_id", existing_type=sa.Integer(), nullable=False)
        batch.create_foreign_key(op.f("fk_predictions_pipeline_id"), "pipelines", ["pipeline_id"], ["id"])
        batch.create_unique_constraint(op.f("uq_predictions_task_id_pipeline_id"), ["task_id", "pipeline_id"])
    op.create_index(op.f("ix_predictions_pipeline_id"), "predictions", ["pipeline_id"])
    for table, column in _REFERENCES:
        op.create_index(op.f(f"ix_{table}_{column}"), table, [column])


def _carry_over() -> None:
    connection = op.get_bind()
    signatures = connection.scalars(
        sa.text("SELECT pipeline FROM predictions UNION SELECT pipeline FROM projects WHERE pipeline IS NOT NULL")
    ).all()
    pushed = set(
        connection.scalars(
            sa.text(
                "SELECT DISTINCT pipeline FROM predictions "
                "JOIN review_items ON review_items.prediction_id = predictions.id "
                "WHERE review_items.sent_at IS NOT NULL"
            )
        )
    )
    names = set(pushed)
    rows = []
    for signature in sorted(signatures):
        name = signature if signature in pushed else _name(signature, names)
        names.add(name)
        rows.append({"signature": signature, "name": name, "created_at": datetime.now(UTC)})
    if rows:
        op.bulk_insert(_PIPELINES, rows)


def _name(signature: str, taken: set[str]) -> str:
    if re.fullmatch(r"[\w.:+-]{1,64}", signature, re.ASCII):
        return signature
    projector = re.search(r"\bprojector=([a-z]+(?:-[a-z]+)*)", signature)
    kind = projector.group(1).removeprefix("log-linear-") if projector else "pipeline"
    digest = hashlib.sha256(signature.encode()).hexdigest()
    return next(name for digits in (4, 8, 16, 64) if (name := f"{kind}-{digest[:digits]}") not in taken)


def downgrade() -> None:
    for table, column in _REFERENCES:
        op.drop_index(op.f(f"ix_{table}_{column}"), table)
    op.drop_index(op.f("ix_predictions_pipeline_id"), "predictions")
    op.add_column("predictions", sa.Column("pipeline", sa.Text(), nullable=True))
    op.execute(
        "UPDATE predictions SET pipeline = "
        "(SELECT signature FROM pipelines WHERE pipelines.id = predictions.pipeline_id)"
    )
    with op.batch_alter_table("predictions") as batch:
        batch.drop_constraint(op.f("uq_predictions_task_id_pipeline_id"), type_="unique")
        batch.drop_constraint(op.f("fk_predictions_pipeline_id"), type_="foreignkey")
        batch.drop_column("pipeline_id")
        batch.alter_column("pipeline", existing_type=sa.Text(), nullable=False)
        batch.create_unique_constraint(op.f("uq_predictions_task_id_pipeline"), ["task_id", "pipeline"])

    op.add_column("projects", sa.Column("pipeline", sa.Text(), nullable=True))
    op.execute(
        "UPDATE projects SET pipeline = "
        "(SELECT signature FROM pipelines WHERE pipelines.id = projects.pipeline_id)"
    )
    with op.batch_alter_table("projects") as batch:
        batch.drop_constraint(op.f("fk_projects_pipeline_id"), type_="foreignkey")
        batch.drop_column("pipeline_id")
    op.drop_table("pipelines")
