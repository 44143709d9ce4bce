"""How many wrong occurrences a question about a name was expected to settle."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("name_questions", sa.Column("expected_errors", sa.Double(), nullable=True))


def downgrade() -> None:
    op.drop_column("name_questions", "expected_errors")
