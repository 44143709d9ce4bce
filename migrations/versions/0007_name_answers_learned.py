"""Which answers about names a project has learned from."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # added without rebuilding the table: SQLite would delete what refers to it
    op.add_column("corpus_states", sa.Column("name_answer_id", sa.Integer(), nullable=False, server_default="0"))


def downgrade() -> None:
    op.drop_column("corpus_states", "name_answer_id")
