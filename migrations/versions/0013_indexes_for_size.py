"""Indexes for what is asked of large projects: counts by split, the least confident predictions, the queue."""

from alembic import op

revision = "0013"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(op.f("ix_tasks_project_id_split"), "tasks", ["project_id", "split"], unique=False)
    op.create_index(
        op.f("ix_predictions_pipeline_id_confidence_task_id"),
        "predictions",
        ["pipeline_id", "confidence", "task_id"],
        unique=False,
    )
    op.drop_index(op.f("ix_predictions_pipeline_id"), table_name="predictions")
    op.create_index(
        op.f("ix_review_items_batch_id_position"), "review_items", ["batch_id", "position"], unique=False
    )


def downgrade() -> None:
    op.drop_index(op.f("ix_review_items_batch_id_position"), table_name="review_items")
    op.create_index(op.f("ix_predictions_pipeline_id"), "predictions", ["pipeline_id"], unique=False)
    op.drop_index(op.f("ix_predictions_pipeline_id_confidence_task_id"), table_name="predictions")
    op.drop_index(op.f("ix_tasks_project_id_split"), table_name="tasks")
