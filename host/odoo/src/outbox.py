# Triggerbox: notes what happens to records that the rule #RULE# watches, in the transaction in which it happens.
# Made by `triggerbox rules apply`, which also tells whether it was changed. Do not edit it.
# Odoo compiles this each time, while a user waits: it is short, and what PostgreSQL can do is left to it. All that is noted in
# a transaction is written when that is about to be committed, by one statement; what is noted by what Odoo itself does then, by
# another.
# Rules run their actions as superuser; whoever runs one by hand does not, and notes nothing.
if env.su:
    hooks = env.cr.precommit
    noted = hooks.data.get('triggerbox')
    if noted is None:
        noted = hooks.data['triggerbox'] = {}

        def flush():
            # A mark of a run counts only if the ledger has it from this very transaction: whoever else sends one in the context
            # is not believed. What the last line sees of the outbox is what was there before: it finds a ping when that was empty.
            env.cr.execute("""
WITH told AS (
    SELECT n, told->0->>0 AS rule, told->0->>1 AS model, (told->0->>2)::int AS record, told->0->>3 AS kind,
        (told->1->>0)::int AS by, told->1->>1 AS mark, told->1->2 AS fields
    FROM json_array_elements(%s::json) WITH ORDINALITY AS noted(told, n)
), cut AS MATERIALIZED (
    SELECT told.*, CASE WHEN kind NOT IN ('created', 'updated') THEN fields ELSE (
        SELECT json_object_agg(name, json_build_array(
            CASE json_typeof(pair->0) WHEN 'string' THEN to_json(left(pair->>0, 100000)) ELSE pair->0 END,
            CASE json_typeof(pair->1) WHEN 'string' THEN to_json(left(pair->>1, 100000)) ELSE pair->1 END))
        FROM json_each(fields) AS field(name, pair)
        WHERE kind = 'created' OR (pair->0)::text <> (pair->1)::text
    ) END AS changed FROM told
), new AS (
    INSERT INTO x_triggerbox_event (
        x_name, x_model, x_record, x_kind, x_user, x_chain, x_values, x_transaction, create_date, write_date)
    SELECT rule, model, record, kind, by,
        (SELECT mark FROM x_triggerbox_run WHERE x_name = 'run ' || mark AND create_date = now() AT TIME ZONE 'UTC'),
        changed::text, txid_current()::text, now() AT TIME ZONE 'UTC', now() AT TIME ZONE 'UTC'
    FROM cut WHERE kind <> 'updated' OR changed IS NOT NULL ORDER BY n
    RETURNING id
)
SELECT res_id FROM ir_model_data WHERE module = '__triggerbox__' AND name = 'action_ping'
    AND EXISTS (SELECT 1 FROM new) AND NOT EXISTS (SELECT 1 FROM x_triggerbox_event)
""", [json.dumps(list(hooks.data.pop('triggerbox').items()), default=str)])
            for ping in env.cr.fetchall():
                env['ir.actions.server'].browse(ping).with_context(active_id=1)._run_action_webhook()

        hooks.add(flush)
    #WHAT#
