// What an e-mail address and a phone number look like.

/** Letters, digits and dashes, without a dash at either end. */
const LABEL = "[\\p{L}\\p{N}](?:[\\p{L}\\p{N}-]*[\\p{L}\\p{N}])?";
const EMAIL = new RegExp(`^[\\p{L}\\p{N}.!#$%&'*+/=?^_\`{|}~-]+@${LABEL}(?:\\.${LABEL})+$`, "u");

/**
 * Whether a text can be an e-mail address, alone or as `Ada <ada@example.com>`. Says nothing about whether it exists.
 */
export function isEmail(text: string): boolean {
  const bracketed = /^[^<]*<([^<>]*)>$/.exec(text.trim());
  const address = bracketed ? bracketed[1]! : text.trim();
  return EMAIL.test(address);
}

/** Whether a text can be a phone number: 7 to 15 digits, a plus only in front, and what people put between. */
export function isPhone(text: string): boolean {
  const digits = text.replace(/[^0-9]/g, "").length;
  return digits >= 7 && digits <= 15 && /^\+?[0-9 \-./()]+$/.test(text.trim());
}
