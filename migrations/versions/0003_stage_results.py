"""What each stage added to a task is kept by stage and input, beside what people gave.

The links of aligners move there; those that came with a task become a column of it. A source or source entities
that are there already count as given: nothing says which stage made them. Imported gold gets a history.
"""

import hashlib
from datetime import UTC, datetime

import msgspec
import regex
import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_ORIGINS = ("translator_id", "tagger_id")
_STAGES = sa.table(
    "stages",
    sa.column("id", sa.Integer()),
    sa.column("role", sa.Text()),
    sa.column("signature", sa.Text()),
    sa.column("created_at", sa.DateTime(timezone=True)),
)
_RESULTS = sa.table(
    "stage_results",
    sa.column("task_id", sa.Integer()),
    sa.column("stage_id", sa.Integer()),
    sa.column("fingerprint", sa.Text()),
    sa.column("added", sa.JSON(none_as_null=True)),
    sa.column("created_at", sa.DateTime(timezone=True)),
)
_LINKS = sa.table(
    "task_links",
    sa.column("task_id", sa.Integer()),
    sa.column("aligner", sa.Text()),
    sa.column("alignment", sa.Text()),
    sa.column("created_at", sa.DateTime(timezone=True)),
)
_TASKS = sa.table(
    "tasks",
    sa.column("id", sa.Integer()),
    sa.column("text", sa.Text()),
    sa.column("source", sa.Text()),
    sa.column("tokens", sa.JSON()),
    sa.column("source_tokens", sa.JSON()),
    sa.column("alignment", sa.Text()),
    sa.column("created_at", sa.DateTime(timezone=True)),
)
_ROWS = 5_000


# The tokeniser whose tokens the stored links are links of: the one of the version before.
_UNSPACED = "".join(
    rf"\p{{Script_Extensions={script}}}"
    for script in ("Han", "Hiragana", "Katakana", "Thai", "Lao", "Khmer", "Myanmar")
)
_WORD = rf"[[\p{{L}}\p{{M}}\p{{N}}_\u200c\u200d]--[{_UNSPACED}]]"
_POSSESSIVE = rf"['’][sS](?!{_WORD})"
_TOKEN = regex.compile(
    rf"(?V1)[{_UNSPACED}]\p{{M}}*"
    rf"|(?<={_WORD}){_POSSESSIVE}"
    rf"|{_WORD}+(?:(?!{_POSSESSIVE})(?:['’ʼ‐‑-]|(?<=\p{{N}})[.,:/](?=\p{{N}})){_WORD}+)*"
    r"|(?![\s\p{C}])\X"
)


def upgrade() -> None:
    op.create_table(
        "stages",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("signature", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_stages")),
        sa.UniqueConstraint("role", "signature", name=op.f("uq_stages_role_signature")),
    )
    op.create_table(
        "stage_results",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("task_id", sa.Integer(), nullable=False),
        sa.Column("stage_id", sa.Integer(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("added", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["stage_id"], ["stages.id"], name=op.f("fk_stage_results_stage_id")),
        sa.ForeignKeyConstraint(
            ["task_id"], ["tasks.id"], name=op.f("fk_stage_results_task_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_stage_results")),
        sa.UniqueConstraint(
            "task_id", "stage_id", "fingerprint", name=op.f("uq_stage_results_task_id_stage_id_fingerprint")
        ),
    )
    op.create_index(op.f("ix_stage_results_stage_id"), "stage_results", ["stage_id"])
    with op.batch_alter_table("tasks") as batch:
        batch.add_column(sa.Column("alignment", sa.Text(), nullable=True))
        for column in _ORIGINS:
            batch.add_column(sa.Column(column, sa.Integer(), nullable=True))
            batch.create_foreign_key(op.f(f"fk_tasks_{column}"), "stages", [column], ["id"])
    op.execute(
        "UPDATE tasks SET alignment = (SELECT alignment FROM task_links "
        "WHERE task_links.task_id = tasks.id AND task_links.aligner = 'given')"
    )
    _move_links()
    op.drop_table("task_links")
    op.drop_index("uq_annotations_import", "annotations")


def _move_links() -> None:
    connection = op.get_bind()
    aligners = connection.scalars(sa.select(_LINKS.c.aligner).where(_LINKS.c.aligner != "given").distinct()).all()
    if not aligners:
        return
    now = datetime.now(UTC)
    rows = [{"role": "aligner", "signature": aligner, "created_at": now} for aligner in aligners]
    op.bulk_insert(_STAGES, rows)
    ids = dict(connection.execute(sa.select(_STAGES.c.signature, _STAGES.c.id)).all())
    query = sa.select(
        _TASKS.c.id, _TASKS.c.text, _TASKS.c.source, _TASKS.c.tokens, _TASKS.c.source_tokens, _LINKS
    ).join(_LINKS, _LINKS.c.task_id == _TASKS.c.id)
    for part in connection.execute(query.where(_LINKS.c.aligner != "given")).partitions(_ROWS):
        op.bulk_insert(
            _RESULTS,
            [
                {
                    "task_id": row.id,
                    "stage_id": ids[row.aligner],
                    "fingerprint": _fingerprint(
                        [
                            *(row.text, row.source),
                            *(row.tokens or _words(row.text), row.source_tokens or _words(row.source)),
                        ]
                    ),
                    "added": {"alignment": row.alignment},
                    "created_at": row.created_at,
                }
                for row in part
            ],
        )


def _words(text: str | None) -> list[str] | None:
    return None if text is None else _TOKEN.findall(text)


def _fingerprint(values: list[object]) -> str:
    return hashlib.sha256(msgspec.json.encode(values)).hexdigest()[:32]


def downgrade() -> None:
    connection = op.get_bind()
    op.execute(
        "DELETE FROM annotations WHERE origin = 'import' AND id NOT IN "
        "(SELECT max(id) FROM annotations WHERE origin = 'import' GROUP BY task_id)"
    )
    op.create_index(
        "uq_annotations_import",
        "annotations",
        ["task_id"],
        unique=True,
        sqlite_where=sa.text("origin = 'import'"),
        postgresql_where=sa.text("origin = 'import'"),
    )
    op.create_table(
        "task_links",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("task_id", sa.Integer(), nullable=False),
        sa.Column("aligner", sa.Text(), nullable=False),
        sa.Column("alignment", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["task_id"], ["tasks.id"], name=op.f("fk_task_links_task_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_task_links")),
        sa.UniqueConstraint("task_id", "aligner", name=op.f("uq_task_links_task_id_aligner")),
    )
    op.execute(
        "INSERT INTO task_links (task_id, aligner, alignment, created_at) "
        "SELECT id, 'given', alignment, created_at FROM tasks WHERE alignment IS NOT NULL"
    )
    # what a task's newest input was aligned to comes last, and only the last of a task's is kept
    query = (
        sa.select(_RESULTS, _STAGES.c.signature)
        .join(_STAGES, _STAGES.c.id == _RESULTS.c.stage_id)
        .where(_STAGES.c.role == "aligner")
        .order_by(sa.text("stage_results.id"))
    )
    newest = {(row.task_id, row.signature): row for row in connection.execute(query)}
    if newest:
        op.bulk_insert(
            _LINKS,
            [
                {
                    "task_id": row.task_id,
                    "aligner": row.signature,
                    "alignment": row.added["alignment"],
                    "created_at": row.created_at,
                }
                for row in newest.values()
            ],
        )
    with op.batch_alter_table("tasks") as batch:
        for column in _ORIGINS:
            batch.drop_constraint(op.f(f"fk_tasks_{column}"), type_="foreignkey")
            batch.drop_column(column)
        batch.drop_column("alignment")
    op.drop_table("stage_results")
    op.drop_table("stages")
