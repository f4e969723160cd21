/**
 * Programs that outlive the command that started them: the lab's nodes and its router.
 *
 * A process is known by its id together with its start time, so that a number that the kernel has given to somebody
 * else since is never signalled.
 */

/** A running program of the lab. */
export interface LabProcess {
  readonly name: string;
  readonly pid: number;
  /** Field 22 of /proc/PID/stat: ticks after boot. */
  readonly startTime: string;
  readonly log: string;
}

/** Starts a program inside a namespace, detached, its output appended to `log`. */
export function startProcess(
  name: string,
  namespace: string,
  command: readonly string[],
  log: string,
  env: Record<string, string> = {},
): LabProcess {
  const child = new Deno.Command("ip", {
    args: ["netns", "exec", namespace, "sh", "-c", 'log=$1; shift; exec "$@" >>"$log" 2>&1', "sh", log, ...command],
    stdin: "null",
    stdout: "null",
    stderr: "null",
    detached: true,
    env,
  }).spawn();
  child.unref();
  return { name, pid: child.pid, startTime: readStartTime(child.pid) ?? "", log };
}

/** Whether the process still runs. */
export function isRunning(process: LabProcess): boolean {
  return readStartTime(process.pid) === process.startTime;
}

/** Ends processes: SIGTERM, then SIGKILL for those that have not gone after `patience` milliseconds. */
export async function stopProcesses(processes: readonly LabProcess[], patience = 5_000): Promise<void> {
  for (const signal of ["SIGTERM", "SIGKILL"] as const) {
    for (const process of processes) if (isRunning(process)) Deno.kill(process.pid, signal);
    for (const end = Date.now() + patience; Date.now() < end && processes.some(isRunning);) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}

/** The start time of a live process; undefined when there is none, or only its unreaped remains. */
function readStartTime(pid: number): string | undefined {
  try {
    const stat = Deno.readTextFileSync(`/proc/${pid}/stat`);
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return fields[0] === "Z" ? undefined : fields[19];
  } catch {
    return undefined;
  }
}
