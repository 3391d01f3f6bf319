/** A length of time as Go and Kubernetes write it: `8h`, `1h30m`, `2m`, `45s`, `1.5s`, `20ms`. */
export function spokenDuration(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)}ms`;
  const seconds = Math.round(ms / 100) / 10;
  const parts: [number, string][] = [
    [Math.floor(seconds / 3600), "h"],
    [Math.floor(seconds / 60) % 60, "m"],
    [Math.round(seconds % 60 * 10) / 10, "s"],
  ];
  return parts.filter(([count]) => count > 0).map(([count, unit]) => `${count}${unit}`).join("");
}
