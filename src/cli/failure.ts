/** How a failure is shown: lines that start with "tortie: ", and where it came from only for who asks. */

/** An error as a line "tortie: …" for each mistake that it names. */
export function inLines(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  const hint = (error as { readonly hint?: unknown } | null)?.hint;
  const text = typeof hint === "string" && !message.endsWith(hint) ? `${message}; ${hint}` : message;
  return text.split("\n").filter((line) => line.trim() !== "").map((line) => `tortie: ${line}`).join("\n") ||
    "tortie: it failed without a word; set TORTIE_DEBUG=1 to see where";
}

/** Where an error came from is shown only when TORTIE_DEBUG is set. */
export function withStack(error: unknown): string {
  return Deno.env.get("TORTIE_DEBUG") && error instanceof Error ? `${inLines(error)}\n${error.stack}` : inLines(error);
}

/** Ends this process with status 1 and its error as lines when something was thrown that nobody caught: a fault of ours. */
export function endOnCrash(): void {
  const end = (event: Event, error: unknown) => {
    event.preventDefault();
    console.error(withStack(error));
    Deno.exit(1);
  };
  addEventListener("error", (event) => end(event, event.error));
  addEventListener("unhandledrejection", (event) => end(event, event.reason));
}
