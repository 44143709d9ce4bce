"""One question can settle all occurrences of a name: the questions, their cards and the answers."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "name_projects",
        sa.Column("project_id", sa.Integer(), nullable=False),
        sa.Column("studio_url", sa.Text(), nullable=False),
        sa.Column("studio_project", sa.Integer(), nullable=False),
        sa.Column("studio_created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("cursor", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_name_projects_project_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("project_id", name=op.f("pk_name_projects")),
    )
    op.create_table(
        "name_questions",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("project_id", sa.Integer(), nullable=False),
        sa.Column("source_name", sa.Text(), nullable=False),
        sa.Column("target_text", sa.Text(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("occurrences", sa.Integer(), nullable=False),
        sa.Column("card", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("studio_task", sa.Integer(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f("fk_name_questions_project_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_name_questions")),
        sa.UniqueConstraint(
            "project_id",
            "source_name",
            "target_text",
            "label",
            name=op.f("uq_name_questions_project_id_source_name_target_text_label"),
        ),
        sa.UniqueConstraint("project_id", "studio_task", name=op.f("uq_name_questions_project_id_studio_task")),
    )
    op.create_table(
        "name_answers",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("question_id", sa.Integer(), nullable=False),
        sa.Column("studio_annotation", sa.Integer(), nullable=False),
        sa.Column("studio_updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("annotator", sa.Text(), nullable=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("lead_time", sa.Double(), nullable=True),
        sa.Column("withdrawn", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "kind IN ('label', 'span', 'no-name', 'depends')", name=op.f("ck_name_answers_kind_is_known")
        ),
        sa.ForeignKeyConstraint(
            ["question_id"], ["name_questions.id"], name=op.f("fk_name_answers_question_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_name_answers")),
        sa.UniqueConstraint(
            "question_id",
            "studio_annotation",
            "studio_updated_at",
            "withdrawn",
            name=op.f("uq_name_answers_question_id_studio_annotation_studio_updated_at_withdrawn"),
        ),
    )
    op.create_index(op.f("ix_name_answers_question_id"), "name_answers", ["question_id"], unique=False)


def downgrade() -> None:
    op.drop_index(op.f("ix_name_answers_question_id"), table_name="name_answers")
    for table in ("name_answers", "name_questions", "name_projects"):
        op.drop_table(table)
