import { list, section, text, wholeNumber } from "../values.ts";

/** How a token becomes a user: TokenReview. */
export const authentication = section({
  audiences: list(text("the name of an audience", { maxLength: 1024 }), 16).default([]).meta({
    description: "Audiences that a token must be meant for, one of them at least. " +
      "Empty: those of the API server itself.",
  }),
  cacheTtlSeconds: wholeNumber({
    from: 0,
    to: 600,
    fallback: 30,
    description: "How long an accepted token is believed without asking again; 0 asks every time. " +
      "A revoked token keeps working this long.",
  }),
  negativeCacheTtlSeconds: wholeNumber({
    from: 0,
    to: 600,
    fallback: 5,
    description: "How long a refused token stays refused without asking again; 0 asks every time.",
  }),
  cacheEntries: wholeNumber({
    from: 1,
    to: 1000000,
    fallback: 4096,
    description: "Tokens remembered at once; the one unused for longest is forgotten first.",
  }),
}).prefault({}).meta({ description: "How a token becomes a user: TokenReview." });
