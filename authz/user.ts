/** Who asks, as TokenReview says it (`authentication.k8s.io/v1` UserInfo). */
export interface User {
  username: string;
  uid: string;
  groups: readonly string[];
  extra: Readonly<Record<string, readonly string[]>>;
}

/** Who asks and as whom. `impersonator` is set when the request carried allowed `Impersonate-*` headers. */
export interface Identity {
  /** The identity that everything is authorized for. */
  user: User;
  /** The identity that the credential belongs to, where it differs. */
  impersonator?: User;
}
