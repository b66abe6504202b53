# Triggerbox: applies the change set of one run in one transaction, with the rights of the user who calls it.
# Made by `triggerbox odoo setup`, which also tells whether it was changed. Do not edit it.
METHODS = {
    #METHODS#
}
ledger = env['x_triggerbox_run'].sudo()
run = env.context.get('triggerbox_run')
request = json.loads(env.context.get('triggerbox_changes') or '{}')
plain = {}
for key in env.context:
    if not key.startswith('triggerbox_'):
        plain[key] = env.context[key]
plain['triggerbox_chain'] = env.context.get('triggerbox_chain') or run
here = env(context=plain)
new = {}
# Records that the run made or found, with their models: numbers of two models may be the same.
own = []
names = {}
looks = []
last = {}


def keep(key, record):
    new[key] = record.id
    own.append([record._name, record.id])


def name_of(index):
    if index not in names:
        target = request['mentions'][index]
        record = here[target[0]].browse(resolve(target[1]))
        names[index] = [record.id, record.display_name or '', target[0]]
    return names[index]


def escape(text):
    return text.replace('&', '&amp;').replace('<', '&lt;').replace('>', '&gt;').replace('"', '&#34;').replace("'", '&#39;')


def text_of(parts, style):
    out = ''
    for part in parts:
        if isinstance(part, str):
            out += part
            continue
        known = name_of(part)
        if style == 'html':
            out += '<a href="/odoo/%s/%s" data-oe-model="%s" data-oe-id="%s">%s</a>' % (
                known[2], known[0], known[2], known[0], escape(known[1]))
        elif style == 'json':
            out += json.dumps('%s (%s)' % (known[1], known[0]))[1:-1]
        else:
            out += '%s (%s)' % (known[1], known[0])
    return out


def resolve(value):
    if isinstance(value, list):
        return list(map(resolve, value))
    if isinstance(value, dict):
        if '$new' in value:
            return new[value['$new']]
        if '$text' in value:
            return text_of(value['$text'], value['$style'])
        if '$parse' in value:
            return json.loads(resolve(value['$parse']))
        if '$ref' in value:
            return '%s,%s' % (value['$ref'][0], resolve(value['$ref'][1]))
        if '$json' in value:
            return value['$json']
        out = {}
        for name in value:
            out[name] = resolve(value[name])
        return out
    return value


def same(now, seen):
    if isinstance(now, bytes):
        now = now.decode()
    if not isinstance(now, (str, int, float, bool, list, tuple, dict)):
        now = str(now)[:19] if now else False
    if isinstance(now, tuple):
        now = list(now)
    return now == seen


def activity_type(kind):
    if '.' in kind and ' ' not in kind:
        found = env.ref(kind, raise_if_not_found=False)
        if found and found.exists():
            return found
    found = here['mail.activity.type'].search([('name', '=', kind)], limit=1)
    if not found:
        raise UserError('TRIGGERBOX unknown-activity-type there is no activity type %s' % kind)
    return found


def conflict(model, record, field):
    raise UserError('TRIGGERBOX conflict %s(%s) was changed by somebody else: %s is not what the run saw' % (
        model, record, field))


def compare(reads):
    for read in reads:
        records = here[read['model']].browse(read['ids'])
        if len(records.exists()) != len(records):
            conflict(read['model'], read['ids'], 'id')
        records.lock_for_update(allow_referencing=True)
        for record in read['ids']:
            rows = here[read['model']].browse(record).read(read['fields'], load=None)
            if not rows:
                conflict(read['model'], record, 'id')
            for field, seen in zip(read['fields'], read['values'][str(record)]):
                if not same(rows[0][field], seen):
                    conflict(read['model'], record, field)


def ensure(op):
    values = resolve(op['values'])
    domain = []
    for key in op['keys']:
        domain.append((key, '=', values.get(key, False)))
    found = here[op['model']].with_context(active_test=False).search(domain, limit=1)
    if found:
        if op['written'] and [op['model'], found.id] not in own:
            conflict(op['model'], found.id, op['keys'][0])
        return found
    # Two runs that ensure the same at once meet at this row: the second one starts again, and finds the record.
    mark = 'ensure %s %s' % (op['model'], json.dumps(domain, sort_keys=True))
    row = ledger.search([('x_name', '=', mark)], limit=1)
    if row:
        row.write({'x_count': row.x_count + 1})
    else:
        ledger.create({'x_name': mark, 'x_count': 1})
    return here[op['model']].create(values)


def post(op):
    files = []
    for file in op['attachments']:
        files.append((file['name'], b64decode(file['content'])))
    here[op['model']].browse(resolve(op['id'])).message_post(
        body=resolve(op['body']), body_is_html=op['html'], subject=resolve(op['subject']), message_type='comment',
        subtype_xmlid='mail.mt_note' if op['note'] else 'mail.mt_comment', partner_ids=resolve(op['partners']),
        attachments=files)


def schedule(op):
    kind = activity_type(op['kind'])
    deadline = op['deadline']
    if not deadline:
        delay = dateutil.relativedelta.relativedelta(**{kind.delay_unit or 'days': kind.delay_count})
        today = datetime.datetime.now(timezone(env.user.tz or 'UTC'))
        if request.get('today'):
            today = datetime.datetime.strptime(request['today'], '%Y-%m-%d')
        deadline = str((today + delay).date())
    here[op['model']].browse(resolve(op['id'])).activity_schedule(
        activity_type_id=kind.id, date_deadline=deadline, summary=resolve(op['summary']), note=resolve(op['note']),
        user_id=resolve(op['user']) or env.uid)


def done(op):
    kind = activity_type(op['kind'])
    here['mail.activity'].search([
        ('res_model', '=', op['model']), ('res_id', '=', resolve(op['id'])), ('activity_type_id', '=', kind.id),
    ]).action_feedback(feedback=resolve(op['feedback']) or False)


# What a rule remembers is the rule's, whatever user it runs as, and it may be another user tomorrow. Nothing tells a run from a
# member of the group who does this by hand.
def state(op):
    mark = 'state %s %s' % (op['rule'], op['key'])
    row = ledger.search([('x_name', '=', mark)], limit=1)
    if op['json'] is None:
        row.unlink()
    elif row:
        row.write({'x_result': resolve(op['json'])})
    else:
        ledger.create({'x_name': mark, 'x_result': resolve(op['json'])})


def plain_value(value):
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, (str, int, float, bool, list, tuple, dict)):
        return value
    return str(value)[:19] if value else False


# What records hold that the caller may see, relations with names; and what was said of them.
def look(op):
    records = here[op['model']].browse(resolve(op['ids'])).exists()
    records.check_access('read')
    rows = []
    for record in records:
        row = {'id': record.id}
        for field in op['fields']:
            value = record[field]
            kind = record._fields[field].type
            if kind in ('many2one', 'one2many', 'many2many'):
                row[field] = []
                for other in value:
                    row[field].append([other.id, other.display_name or ''])
            elif kind == 'reference':
                row[field] = '%s,%s' % (value._name, value.id) if value else False
            else:
                row[field] = plain_value(value)
        rows.append(row)
    said = []
    about = [('res_id', 'in', records.ids)]
    if 'activity_ids' in records._fields:
        for activity in here['mail.activity'].search(about + [('res_model', '=', op['model'])], order='id'):
            said.append(['activity', activity.res_id, activity.id, activity.activity_type_id.name or '',
                         activity.summary or '', str(activity.date_deadline), activity.user_id.name or ''])
    if 'message_ids' in records._fields:
        newer = about + [('model', '=', op['model']), ('id', '>', last['message'])]
        for message in here['mail.message'].search(newer, order='id'):
            said.append(['message', message.res_id, message.id, message.message_type, str(message.body or ''),
                         message.subtype_id == env.ref('mail.mt_note')])
        for follower in env['mail.followers'].sudo().search(about + [('res_model', '=', op['model'])], order='id'):
            said.append(['follower', follower.res_id, follower.id, follower.partner_id.name or ''])
    looks.append({'model': op['model'], 'rows': rows, 'said': said})


# Every record that a test makes is known by its run, so that it can be taken away again.
def mark(op):
    for record in here[op['model']].browse(resolve(op['ids'])):
        parts = [record]
        for field in record._inherits.values():
            parts.insert(0, record[field])
        for part in parts:
            env['ir.model.data'].create({
                'module': op['module'], 'name': '%s_%s_%s' % (run, part._name.replace('.', '_'), part.id),
                'model': part._name, 'res_id': part.id, 'noupdate': True,
            })


# Takes away what the test of a run made, or what tests made that ended long ago, the last first.
def sweep(op):
    found = [('module', '=', op['module'])]
    if op['own']:
        found.append(('name', '=like', run + '%'))
    else:
        found.append(('create_date', '<', datetime.datetime.now() - datetime.timedelta(hours=1)))
    marks = env['ir.model.data'].search(found, order='id desc')
    new['gone'] = 0
    # A record takes its mark along.
    made = []
    for name in marks:
        made.append([name.model, name.res_id])
    for model, record_id in made:
        record = here[model].with_context(active_test=False, _force_unlink=True).browse(record_id).exists()
        new['gone'] += len(record)
        record.unlink()
    marks.exists().unlink()


def apply(op):
    kind = op['op']
    model = here[op['model']] if op.get('model') else None
    if kind == 'create':
        for key, record in zip(op['new'], model.create(resolve(op['values']))):
            keep(key, record)
    elif kind == 'ensure':
        keep(op['new'], ensure(op))
    elif kind == 'write':
        model.browse(resolve(op['ids'])).write(resolve(op['values']))
    elif kind == 'unlink':
        model.browse(resolve(op['ids'])).unlink()
    elif kind == 'copy':
        keep(op['new'], model.browse(resolve(op['id'])).copy(resolve(op['values'])))
    elif kind == 'call':
        method = METHODS.get('%s.%s' % (op['model'], op['method']))
        if not method:
            raise UserError('TRIGGERBOX method-not-set-up %s.%s is not among the methods of the set-up' % (
                op['model'], op['method']))
        args = resolve(op['args'])
        if isinstance(args, dict):
            method(model.browse(resolve(op['ids'])), [], args)
        else:
            method(model.browse(resolve(op['ids'])), args or [], {})
    elif kind == 'post':
        post(op)
    elif kind == 'schedule':
        schedule(op)
    elif kind == 'done':
        done(op)
    elif kind == 'follow':
        model.browse(resolve(op['id'])).message_subscribe(partner_ids=resolve(op['partners']))
    elif kind == 'unfollow':
        model.browse(resolve(op['id'])).message_unsubscribe(partner_ids=resolve(op['partners']))
    elif kind == 'state':
        state(op)
    elif kind == 'look':
        look(op)
    elif kind == 'mark':
        mark(op)
    elif kind == 'sweep':
        sweep(op)
    else:
        raise UserError('TRIGGERBOX bad-request unknown operation %s; run `triggerbox odoo setup` again' % kind)


def do():
    known = ledger.search([('x_name', '=', 'run %s' % run)], limit=1)
    if known:
        return {'triggerbox': 1, 'again': True, 'done': json.loads(known.x_result)}
    # Taken first: a second request of the same run waits here, and is then told what the first one did.
    row = ledger.create({'x_name': 'run %s' % run, 'x_user': env.uid, 'x_chain': plain['triggerbox_chain']})
    env.flush_all()
    compare(request['reads'])
    if request.get('undo'):
        last['message'] = env['mail.message'].sudo().search([], order='id desc', limit=1).id or 0
        for seen in request['looks']:
            if not seen['new']:
                look(seen)
    for op in request['ops']:
        apply(op)
    for index in range(len(request['mentions'])):
        name_of(index)
    # What is written now carries this time as its last update, to the second.
    result = {'new': new, 'names': names, 'at': str(env.cr.now())[:19]}
    if request.get('undo'):
        # A trial: what it came to is told, and nothing of it stays.
        env.flush_all()
        for seen in request['looks']:
            look(seen)
        env.cr.rollback()
        return {'triggerbox': 1, 'again': False, 'done': result, 'looks': looks}
    if request.get('forget'):
        # Of tests, the ledger keeps nothing.
        row.unlink()
        env.flush_all()
        return {'triggerbox': 1, 'again': False, 'done': result}
    row.write({'x_result': json.dumps(result), 'x_count': len(request['ops'])})
    env.flush_all()
    return {'triggerbox': 1, 'again': False, 'done': result}


if env.context.get('triggerbox_status'):
    env.cr.execute("SELECT count(*) FROM pg_indexes WHERE indexname = 'x_triggerbox_run_once'")
    action = {'triggerbox': 1, 'once': env.cr.fetchone()[0] == 1, 'user': env.uid, 'superuser': env.su}
elif env.context.get('triggerbox_state'):
    row = ledger.search([('x_name', '=', 'state %s' % env.context['triggerbox_state'])], limit=1)
    action = {'triggerbox': 1, 'state': row.x_result or None}
else:
    try:
        action = do()
    except UserError:
        raise
    except Exception as error:
        code = ''
        try:
            code = error.pgcode or ''
        except Exception:
            code = ''
        if code[:2] == '40' or code[:2] == '55':
            # Odoo itself starts the transaction again.
            raise
        kind = 'taken' if code == '23505' and 'x_triggerbox_run' in str(error) else 'refused'
        raise UserError('TRIGGERBOX %s %s' % (kind, str(error).split('\n')[0][:500]))
