// Breaks in line 6.
import { type Answer, command, type Event } from "triggerbox";

function deeper(values: Record<string, { name: string }>): string {
  // Not there.
  return values["missing"]!.name;
}

export function run(event: Event): Answer {
  if (!event.ids.length) return deeper({});
  // A plain number is an id where the related model's field is a link.
  const user = event.runAs.id;
  for (const partner of event.read("child_ids")) {
    event.model.relate(
      partner,
      "child_ids",
      command.create({ name: "Ada", user_id: user }),
      command.update(partner.child_ids[0], { name: "Grace", user_id: user }),
    );
  }
}
