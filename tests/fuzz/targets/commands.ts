import assert from "node:assert/strict";
import { ArgvMask } from "../../../audit/argv/argv_mask.ts";
import { safeJson } from "../../../audit/line.ts";
import { visible, visibleCommand } from "../../../cli/visible.ts";
import { quote } from "../../../protocol/port_forward/uint16.ts";
import { commandOf } from "../../../recording/manifest/command_of.ts";
import { printable, printableJson } from "../../../recording/printable.ts";
import { readRequestTarget } from "../../../routes/request_target.ts";
import { isPrintable, textOf } from "../oracle.ts";
import type { Target } from "../target.ts";

const mask = new ArgvMask({ key: new Uint8Array(32) });

/** Words between NULs: no argument holds one. */
function argvOf(input: Uint8Array): string[] {
  return textOf(input).split("\0").map((word) => word.toWellFormed());
}

const SHELL_WORDS = [
  ...[
    "\0",
    " ",
    "'",
    '"',
    "\\",
    "$(",
    "`",
    "$'",
    "|",
    "&&",
    ";",
    ">",
    "<<<",
    "\n",
    "=",
    "--",
    "-c",
    "sh",
    "bash",
  ],
  ...[
    "PASSWORD=",
    "--password",
    "-p",
    "mysql",
    "curl",
    "-u",
    "user:pass",
    "Authorization: Bearer ",
    "https://u:p@h/",
  ],
  ...[
    "env",
    "sudo",
    "timeout",
    "tar",
    "xf",
    "cf",
    "-",
    "rsync",
    "--server",
    "--sender",
    ".",
    "-logDtpre.iLsfxC",
    "=x",
  ],
];

export const COMMAND_TARGETS: readonly Target[] = [
  {
    name: "argv-mask",
    promise:
      "a command is masked in a URI exactly as by itself, and nothing of it is lost beside its secrets",
    seeds: [
      "sh\0-c\0mysql --password=hunter2 -u root db",
      "env\0PASSWORD=hunter2\0cmd",
      "curl\0-H\0Authorization: Bearer abc\0https://u:p@host/",
      "psql\0postgres://u:p@h/db",
    ],
    words: SHELL_WORDS,
    check(input) {
      const argv = argvOf(input);
      const masked = mask.argv(argv);
      assert.equal(masked.length, argv.length);
      for (const [at, word] of masked.entries()) {
        const kept = word.split(/\(masked:[0-9a-f]{16}\)/);
        let from = 0;
        for (const piece of kept) {
          const found = argv[at]!.indexOf(piece, from);
          assert.ok(found >= 0, "what is not secret stands there as it was");
          from = found + piece.length;
        }
      }
      const uri = `/exec?${argv.map((word) => `command=${encodeURIComponent(word)}`).join("&")}`;
      const inUri = readRequestTarget(mask.uri(uri)).query.map(([, value]) => value);
      assert.deepEqual(inUri, [...masked]);
      assert.equal(typeof mask.message(argv.join(" "), argv), "string");
    },
  },
  {
    name: "secret-mask",
    promise: "a password that its flag announces is never left, whatever stands around it",
    seeds: ["cmd\0-v", "kubectl\0exec", "sh\0script.sh"],
    words: SHELL_WORDS,
    check(input) {
      const secret = "Zq9hunter2Xw";
      // Behind `--` all words are operands, and a shell's own words are another story: told by argv-mask.
      const before = argvOf(input).filter((word) => !/^-|sh$|[=<>|;&]/.test(word) && word.trim() !== "");
      const masked = mask.argv(["program", ...before, `--password=${secret}`]);
      assert.ok(!masked.join("\0").includes(secret), masked.join(" "));
    },
  },
  {
    name: "transfer-command",
    promise: "every command is a transfer or none, and of what is stated there is a bound",
    seeds: [
      "tar\0xmf\0-\0-C\0/",
      "rsync\0--server\0-logDtpre.iLsfxC\0.\0/data",
      "sh\0-c\0tar cf - /x | gzip",
    ],
    words: SHELL_WORDS,
    check(input) {
      const transfer = commandOf(argvOf(input));
      if (transfer?.kind !== "rsync") return;
      const { paths, options } = transfer.facts;
      assert.ok(paths.length <= 32 && options.length <= 32);
      assert.ok([...paths, ...options].every(({ length }) => length <= 256));
    },
  },
  {
    name: "terminal-text",
    promise: "text of anybody is one line on which no terminal acts, and an event's is read back as it was",
    seeds: ["plain", "\x1b]0;title\x07\x1b[31m", "\u202eevil\u2066", "a\r\nb\u2028c\u0085", '"\\'],
    words: [
      "\x1b[",
      "\u009b",
      "\u202e",
      "\u2028",
      "\r\n",
      "\x7f",
      "\u{e0001}",
      '"',
      "\\",
      "\ufeff",
      "\u00ad",
    ],
    check(input) {
      const text = textOf(input);
      for (
        const shown of [safeJson(text), printable(text), printableJson(text), visible(text), quote(text)]
      ) {
        isPrintable(shown, "what is shown");
      }
      isPrintable(visibleCommand(text.split(" ")), "a command that is shown");
      assert.equal(JSON.parse(safeJson(text)), text);
      assert.equal(JSON.parse(printableJson(text)), text);
      assert.equal(JSON.parse(`"${visible(text)}"`), text);
    },
  },
];
