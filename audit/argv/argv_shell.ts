/** A word as the shell passes it on, and where in the source each of its UTF-16 units stood. */
export interface ShellWord {
  type: "word";
  text: string;
  /** Where the unit begins in the source. */
  starts: readonly number[];
  /** Where it ends. */
  ends: readonly number[];
}

/** What stands between words. `command` ends a command and begins another; `redirect` stays in it. */
export interface ShellOperator {
  type: "command" | "redirect";
  text: string;
}

/** `$(` and a backtick begin a command too. */
const OPERATOR = /\$\(|&&|\|\|?|\|&|;;?|[&()`\n]|<<<|<<-?|<&|<\(|<|>>|>&|>\(|>\||>/y;

/**
 * Takes apart what `sh -c` is given, as far as is needed to know one word from the next: quotes, backslashes and
 * operators. Nothing is expanded. What is not closed reaches to the end, and nothing is an error.
 *
 * @see POSIX.1-2024, Shell Command Language, 2.2 and 2.3
 */
export function shellTokens(source: string): (ShellWord | ShellOperator)[] {
  const tokens: (ShellWord | ShellOperator)[] = [];
  let word: { text: string; starts: number[]; ends: number[] } | undefined;
  let quote = "";
  const end = () => {
    if (word !== undefined) tokens.push({ type: "word", ...word });
    word = undefined;
  };
  const add = (text: string, from: number, to: number) => {
    word ??= { text: "", starts: [], ends: [] };
    word.text += text;
    word.starts.push(from);
    word.ends.push(to);
  };
  for (let at = 0; at < source.length;) {
    const unit = source.charAt(at);
    const escapes = unit === "\\" && quote !== "'" && at + 1 < source.length;
    if (escapes && (quote !== '"' || /["\\$`\n]/.test(source.charAt(at + 1)))) {
      if (source.charAt(at + 1) !== "\n") add(source.charAt(at + 1), at, at + 2);
      at += 2;
      continue;
    }
    if (quote !== "") {
      if (unit === quote.at(-1)) quote = "";
      else add(unit, at, at + 1);
      at += 1;
      continue;
    }
    const opened = unit === "'" || unit === '"' ? unit : source.startsWith("$'", at) ? "$'" : "";
    if (opened !== "") {
      quote = opened;
      // "" is a word too.
      word ??= { text: "", starts: [], ends: [] };
      at += opened.length;
      continue;
    }
    OPERATOR.lastIndex = at;
    const operator = OPERATOR.exec(source)?.[0];
    if (operator !== undefined) {
      end();
      const isRedirect = /^[<>][^(]*$/.test(operator);
      tokens.push({ type: isRedirect ? "redirect" : "command", text: operator });
      at += operator.length;
    } else if (/\s/.test(unit)) {
      end();
      at += 1;
    } else {
      add(unit, at, at + 1);
      at += 1;
    }
  }
  end();
  return tokens;
}
