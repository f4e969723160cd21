/** Schema of a HostEndpoint. */

import { z } from "zod";
import { endpointPort } from "./endpoint_port.ts";
import { checkInterface, checkIp, name, optionalText, strict, text } from "./fields.ts";
import { problem } from "./issue.ts";

export const hostEndpointSpec = strict({
  node: name,
  interfaceName: optionalText((value) => checkInterface(value)),
  expectedIPs: z.array(text((value) => checkIp(value))).optional(),
  profiles: z.array(name).optional(),
  ports: z.array(endpointPort).optional(),
}).check((context) => {
  if (context.value.interfaceName || context.value.expectedIPs?.length) return;
  problem(context, "names neither interfaceName nor expectedIPs", {
    hint: 'write interfaceName: "*" for all of the host',
  });
});
