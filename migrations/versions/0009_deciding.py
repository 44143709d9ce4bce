"""Who gave an annotation the star, which conflicts Label Studio shows, whether a majority settles them."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("projects", sa.Column("majority", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("annotations", sa.Column("ground_truth_by", sa.Text(), nullable=True))
    op.create_table(
        "shown_conflicts",
        sa.Column("task_id", sa.Integer(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["task_id"], ["tasks.id"], name=op.f("fk_shown_conflicts_task_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("task_id", name=op.f("pk_shown_conflicts")),
    )


def downgrade() -> None:
    op.drop_table("shown_conflicts")
    op.drop_column("annotations", "ground_truth_by")
    op.drop_column("projects", "majority")
