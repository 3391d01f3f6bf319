import { optionalFile, section, text, wholeNumber } from "../values.ts";

/** The API server, and the gateway's own credentials there. */
export const kubernetes = section({
  kubeconfig: optionalFile(
    "A kubeconfig with the gateway's own credentials. Without it, the pod's service account is used.",
  ),
  context: text("the name of a context").optional().meta({
    description: "The context of `kubeconfig` to use. Without it, the file's current one.",
  }),
  requestTimeoutSeconds: wholeNumber({
    from: 1,
    to: 300,
    fallback: 10,
    description:
      "How long one question to the API server may take; a session is refused when it takes longer.",
  }),
}).check(({ value, issues }) => {
  if (value.context !== undefined && value.kubeconfig === undefined) {
    issues.push({
      code: "custom",
      path: ["kubeconfig"],
      input: value.kubeconfig,
      message: "expected the path of the file that holds the chosen context",
    });
  }
}).prefault({}).meta({ description: "The API server, and the gateway's own credentials there." });
