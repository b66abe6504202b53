# Triggerbox: what is told of a record that is about to be deleted (`want` is deleted), and of a message on it.
# Made by `triggerbox odoo setup`, which also tells whether it was changed. Do not edit it.
UNTOLD = ('binary', 'properties', 'properties_definition', 'serialized', 'json')
SILENT = ('notification', 'auto_comment', 'user_notification')
LONGEST = 100000
action = {}
if env.su and want == 'deleted':
    names = []
    for name in record._fields:
        field = record._fields[name]
        if field.store and field.type not in UNTOLD and field.type != 'one2many':
            names.append(name)
    for row in record.read(names, load=None):
        for name in names:
            value = row[name]
            action[name] = [value[:LONGEST] if isinstance(value, str) else value, None]
elif env.su:
    # Odoo does not say which message it was that fired the rule: the newest one that can have. Notes never do.
    on = [('model', '=', record._name), ('res_id', '=', record.id), ('message_type', 'not in', SILENT)]
    heard = [('is_internal', '=', False), '|', ('subtype_id', '=', False), ('subtype_id.internal', '=', False)]
    for message in env['mail.message'].search(on + heard, order='id desc', limit=1):
        author = message.author_id
        action = {
            'id': message.id, 'author': [author.id, author.name or ''] if author else False,
            'body': str(message.body or '')[:LONGEST],
        }
