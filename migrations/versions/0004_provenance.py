"""A projected entity says what spoke for it, and what the sentences of a project tell of each other is kept."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("projected_entities", sa.Column("provenance", sa.JSON(none_as_null=True), nullable=True))
    op.create_table(
        "corpus_states",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("project_id", sa.Integer(), nullable=False),
        sa.Column("signature", sa.Text(), nullable=False),
        sa.Column("gold", sa.Text(), nullable=False),
        sa.Column("annotation_id", sa.Integer(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_corpus_states_project_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_corpus_states")),
        sa.UniqueConstraint("project_id", "signature", name=op.f("uq_corpus_states_project_id_signature")),
    )
    op.create_index(op.f("ix_corpus_states_project_id"), "corpus_states", ["project_id"])
    op.create_table(
        "corpus_additions",
        sa.Column("state_id", sa.Integer(), nullable=False),
        sa.Column("task_id", sa.Integer(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["state_id"], ["corpus_states.id"], name=op.f("fk_corpus_additions_state_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["task_id"], ["tasks.id"], name=op.f("fk_corpus_additions_task_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("state_id", "task_id", name=op.f("pk_corpus_additions")),
    )


def downgrade() -> None:
    op.drop_table("corpus_additions")
    op.drop_index(op.f("ix_corpus_states_project_id"), "corpus_states")
    op.drop_table("corpus_states")
    with op.batch_alter_table("projected_entities") as batch:
        batch.drop_column("provenance")
