if record.amount_total > 1000:
    record.message_post(body='High value: %s' % record.amount_total)
