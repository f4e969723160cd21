/** Tables for people: left-aligned columns, two spaces apart, headings in capitals, no lines drawn (so `awk` works). */

/** A column: its heading and how a row's cell is made. */
export interface Column<T> {
  readonly title: string;
  readonly cell: (row: T) => string | number | boolean | null | undefined;
}

/** Formats rows under headings, each line ending in a newline; empty cells show as "-". */
export function formatTable<T>(rows: Iterable<T>, columns: readonly Column<T>[]): string {
  const lines = [columns.map((column) => column.title.toUpperCase())];
  for (const row of rows) {
    lines.push(columns.map((column) => {
      const cell = column.cell(row);
      return cell === null || cell === undefined || cell === "" ? "-" : String(cell);
    }));
  }
  const widths = columns.map((_, i) => Math.max(...lines.map((line) => line[i]!.length)));
  return lines.map((line) => line.map((cell, i) => cell.padEnd(widths[i]!)).join("  ").trimEnd() + "\n").join("");
}

/** Formats a value as indented JSON with a newline at the end. */
export function formatJson(value: unknown): string {
  return JSON.stringify(value, null, 2) + "\n";
}
