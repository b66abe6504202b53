// The run's log.

import log from "triggerbox:automation/log@0.1.1";

export const debug = (text: unknown): void => log.write("debug", String(text));
export const info = (text: unknown): void => log.write("info", String(text));
export const warning = (text: unknown): void => log.write("warning", String(text));
export const error = (text: unknown): void => log.write("error", String(text));
