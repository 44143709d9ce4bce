"""What it takes to trust Label Studio for months: which project it is, which predictions arrived, who decided."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

# Added without rebuilding a table: SQLite would delete what refers to it.
_COLUMNS = (
    ("projects", lambda: sa.Column("studio_created_at", sa.DateTime(timezone=True), nullable=True)),
    ("projects", lambda: sa.Column("studio_text_field", sa.Text(), nullable=True)),
    ("projects", lambda: sa.Column("studio_source_field", sa.Text(), nullable=True)),
    ("review_items", lambda: sa.Column("prediction_sent_at", sa.DateTime(timezone=True), nullable=True)),
    ("review_items", lambda: sa.Column("shown_version", sa.Text(), nullable=True)),
    ("annotations", lambda: sa.Column("ground_truth", sa.Boolean(), nullable=False, server_default=sa.false())),
    ("sync_state", lambda: sa.Column("generation", sa.Integer(), nullable=False, server_default="0")),
)


def upgrade() -> None:
    for table, column in _COLUMNS:
        op.add_column(table, column())
    op.create_table(
        "excluded_tasks",
        sa.Column("task_id", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["task_id"], ["tasks.id"], name=op.f("fk_excluded_tasks_task_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("task_id", name=op.f("pk_excluded_tasks")),
    )
    op.create_table(
        "acknowledgements",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("project_id", sa.Integer(), nullable=False),
        sa.Column("studio_annotation", sa.Integer(), nullable=False),
        sa.Column("studio_updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("problem", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_acknowledgements_project_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_acknowledgements")),
        sa.UniqueConstraint(
            "project_id",
            "studio_annotation",
            "studio_updated_at",
            name=op.f("uq_acknowledgements_project_id_studio_annotation_studio_updated_at"),
        ),
    )
    op.create_table(
        "decisions",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("task_id", sa.Integer(), nullable=False),
        sa.Column("entities", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("annotations", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("decided_by", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["task_id"], ["tasks.id"], name=op.f("fk_decisions_task_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_decisions")),
    )
    op.create_index(op.f("ix_decisions_task_id"), "decisions", ["task_id"], unique=False)


def downgrade() -> None:
    op.drop_index(op.f("ix_decisions_task_id"), table_name="decisions")
    for table in ("decisions", "acknowledgements", "excluded_tasks"):
        op.drop_table(table)
    for table, column in reversed(_COLUMNS):
        op.drop_column(table, column().name)
