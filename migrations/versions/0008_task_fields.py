"""What Label Studio shows of a task beside its prediction, and the hints people were given."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("review_items", sa.Column("fields_digest", sa.Text(), nullable=True))
    op.add_column("review_items", sa.Column("hints", sa.JSON(none_as_null=True), nullable=True))


def downgrade() -> None:
    op.drop_column("review_items", "hints")
    op.drop_column("review_items", "fields_digest")
