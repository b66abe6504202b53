// The record's discussion: what can be posted, and what there is to do.

import type * as host from "triggerbox:host";
import { hostId, type Id } from "./values.ts";

export interface Attachment { name: string; mimeType: string; content: Uint8Array }

/** A message or note: `text` is shown as it is, `html` is sanitised when it is stored. */
export interface Message {
  text?: string;
  html?: string;
  subject?: string;
  /** Partners to notify besides the followers. */
  notify?: readonly Id[];
  attachments?: readonly Attachment[];
}

/** Something to do, for somebody, by a day. */
export interface Activity {
  /** The activity type, by name or external id: `To-Do`, `mail.mail_activity_data_call`. */
  kind: string;
  summary: string;
  /** HTML. */
  note?: string;
  /** A date; left out: today plus the type's own delay. */
  deadline?: string;
  /** Left out: the run-as user. */
  user?: Id | null;
}

/** A message that is already there. */
export interface Posted { id: number; author: string; date: Date; body: string; isNote: boolean }

/** A text as HTML that shows it as it is. */
export function escape(text: string): string {
  const special: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };
  return text.replace(/[&<>"']/g, (character) => special[character]!);
}

export function messageToHost(message: string | Message): host.Message {
  const { text, html, subject, notify, attachments } = typeof message === "string" ? { text: message } as Message : message;
  return {
    body: html ?? text ?? "",
    format: html === undefined ? "text" : "html",
    subject: subject ?? null,
    partnerIds: (notify ?? []).map(hostId),
    attachments: [...(attachments ?? [])],
  };
}

export function activityToHost({ kind, summary, note, deadline, user }: Activity): host.Activity {
  const userId = user === undefined || user === null ? null : hostId(user);
  return { kind, summary, note: note ?? null, deadline: deadline ?? null, userId };
}
