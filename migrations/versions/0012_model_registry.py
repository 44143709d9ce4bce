"""The registry says which annotations made a model, what its files are, and who promoted it."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("model_runs", sa.Column("artefact", sa.Text(), nullable=True))
    op.add_column("promotions", sa.Column("promoted_by", sa.Text(), nullable=True))
    op.create_table(
        "learned_annotations",
        sa.Column("model_run_id", sa.Integer(), nullable=False),
        sa.Column("annotation_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["model_run_id"],
            ["model_runs.id"],
            name=op.f("fk_learned_annotations_model_run_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["annotation_id"],
            ["annotations.id"],
            name=op.f("fk_learned_annotations_annotation_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("model_run_id", "annotation_id", name=op.f("pk_learned_annotations")),
    )
    op.create_index(
        op.f("ix_learned_annotations_annotation_id"), "learned_annotations", ["annotation_id"], unique=False
    )


def downgrade() -> None:
    op.drop_index(op.f("ix_learned_annotations_annotation_id"), table_name="learned_annotations")
    op.drop_table("learned_annotations")
    op.drop_column("promotions", "promoted_by")
    op.drop_column("model_runs", "artefact")
