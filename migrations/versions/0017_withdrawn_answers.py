"""Which answers somebody withdrew here, though Label Studio still holds them."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("annotations", sa.Column("withdrawn", sa.Boolean(), server_default=sa.false(), nullable=False))
    # what a sync found deleted names nobody; a withdrawal says whose answer it was, and imports alone know no sync
    op.execute(
        "UPDATE annotations SET withdrawn = true WHERE deleted AND (annotator IS NOT NULL OR origin = 'import')"
    )


def downgrade() -> None:
    op.drop_column("annotations", "withdrawn")
