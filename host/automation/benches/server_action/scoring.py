industries = ['manufacturing', 'construction', 'energy', 'logistics']
items = [{'name': 'Request %d of %s' % (i, industries[i % 4] if i % 3 else 'nobody'), 'revenue': i * 37 % 20000,
          'email': 'person%d@%s' % (i, 'gmail.com' if i % 5 == 0 else 'example.org'), 'phone': '+32 2 555' if i % 2 else ''}
         for i in range(1000)]
best, total = [], 0
for item in items:
    score = 0
    name = item['name'].lower()
    for industry in industries:
        if industry in name:
            score += 20
            break
    if item['revenue'] > 5000:
        score += 10
    if item['email'].split('@')[1] not in ('gmail.com', 'outlook.com'):
        score += 20
    if item['phone']:
        score += 15
    total += score
    if score > 60:
        best.append(item['name'])
log('%d points, %d best' % (total, len(best)))
