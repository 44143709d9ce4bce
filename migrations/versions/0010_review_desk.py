"""The review desk: which tasks were drawn at random, calibrations, plans."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("review_items") as items:
        items.add_column(sa.Column("drawn", sa.Boolean(), server_default=sa.false(), nullable=False))
    # blind tasks always were; of the others nobody can tell any more
    op.execute("UPDATE review_items SET drawn = true WHERE prediction_id IS NULL")
    op.create_table(
        "calibrations",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("project_id", sa.Integer(), nullable=False),
        sa.Column("pipeline_id", sa.Integer(), nullable=False),
        sa.Column("annotation_id", sa.Integer(), nullable=False),
        sa.Column("content", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["pipeline_id"], ["pipelines.id"], name=op.f("fk_calibrations_pipeline_id")),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_calibrations_project_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_calibrations")),
        sa.UniqueConstraint(
            "project_id",
            "pipeline_id",
            "annotation_id",
            name=op.f("uq_calibrations_project_id_pipeline_id_annotation_id"),
        ),
    )
    op.create_index(op.f("ix_calibrations_pipeline_id"), "calibrations", ["pipeline_id"], unique=False)
    op.create_table(
        "review_plans",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("project_id", sa.Integer(), nullable=False),
        sa.Column("annotation_id", sa.Integer(), nullable=False),
        sa.Column("content", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_review_plans_project_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_review_plans")),
    )
    op.create_index(op.f("ix_review_plans_project_id"), "review_plans", ["project_id"], unique=False)


def downgrade() -> None:
    op.drop_index(op.f("ix_review_plans_project_id"), table_name="review_plans")
    op.drop_table("review_plans")
    op.drop_index(op.f("ix_calibrations_pipeline_id"), table_name="calibrations")
    op.drop_table("calibrations")
    with op.batch_alter_table("review_items") as items:
        items.drop_column("drawn")
