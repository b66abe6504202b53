# The code of a server action, as it stands in Odoo. It is checked and compiled when this folder is built.
for lead in records:
    if lead.expected_revenue > 10000:
        lead.message_post(body='High value: %.2f' % lead.expected_revenue)
