/** Turns what the parts of the node throw into the API's refusals, so that each error has one code and one status. */

import { StoreError } from "../store/store.ts";
import { ApiError, type ApiErrorCode } from "./error.ts";

/** The refusal for whatever was thrown; an error of no known kind is `internal`. */
export function refusalOf(error: unknown): ApiError {
  if (error instanceof ApiError) return error;
  const message = error instanceof Error ? error.message : String(error);
  if (error instanceof StoreError) {
    const code: ApiErrorCode = error.kind === "closed" ? "unavailable" : error.kind;
    return new ApiError(code, message, { cause: error });
  }
  // Refusals of the parts (addresses, workloads) carry a `kind`; a fault of ours carries none.
  if (error instanceof Error && "kind" in error && typeof error.kind === "string") {
    return new ApiError("refused", message, { cause: error });
  }
  return new ApiError("internal", message, { cause: error });
}
