    # With the values before and after, as texts where JSON has no word; PostgreSQL cuts long ones, and drops what did not change.
    old = env.context.get('old_values')
    new = old is None or 'create_date' in record._fields and record.create_date == env.cr.now()
    if #IF#:
        key = ('#RULE#', record._name, record.id, #KIND#)
        values = noted.setdefault(key, [env.uid, env.context.get('triggerbox_chain'), {}])[2]
        for name, was in (#TOLD#).items():
            now = record[name]
            if record._fields[name].type not in ('binary', 'properties', 'properties_definition', 'serialized', 'json'):
                values.setdefault(name, [was, None])[1] = now
            elif was != now:
                values[name] = [False, True]
