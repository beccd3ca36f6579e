(* A Coq that keeps its states: a sentence is run from any state that was kept, and the state that it leads to is kept under a number.

   Requests are lines on stdin, each followed by as many bytes of text as it says:

     ready                     answered with + by itself, once Coq is there.
     walk FIRST FROM BYTES...  the sentences in the texts, one after the other, from state FROM on; the states that they lead to are
                               called FIRST, FIRST + 1 and so on. It ends before the first one that Coq refuses.
     try NEW FROM BYTES        the one sentence in the text, from state FROM; the state that it leads to is called NEW.
     say FROM BYTES            what the command in the text prints in that state; nothing is kept of it.
     forget NUMBER...          these states; no answer.

   State 0 is the beginning. Answers are fields on stdout, with a separator between two of them and an end mark:

     -  reason  proofs                                                                    refused
     +  proofs                                                                            walked
     +  proofs  background  shelved  given up  all goals  apart  goal ...                 tried
     +  notice ...                                                                        said

   "proofs" has a digit for each sentence that was run, 1 where a proof is open after it. "background" (some goals are out of focus) and
   "apart" (no focused goal has an existential variable, printed or not) are 0 or 1, the others between them are counts. Text that Coq
   prints has neither separators nor end marks in it: see [add_escaped].

   Coq prints goals and errors as documents of its own. Here they are put on one line just as sparring/envs/coqtop.py does it with the
   same documents in XML: a policy that has learned from one has to read the other. *)

let separator = '\002'
let end_mark = "\000\n"
let escape = '\001'

exception Refused of string

(* ------------------------------------------------------------------------------------------------ answers *)

(* NUL, and the two signs above, by a digit after the escape sign. *)
let add_escaped buffer text =
  if String.exists (fun char -> char <= separator) text then
    String.iter
      (fun char ->
        if char <= separator then (
          Buffer.add_char buffer escape;
          Buffer.add_char buffer (Char.chr (Char.code '0' + Char.code char)))
        else Buffer.add_char buffer char)
      text
  else Buffer.add_string buffer text

(* A document on one line: strings, and breaks that are blanks there. Breaks wider than three, comments and tags are nothing. *)
let rec add_line buffer document =
  match Pp.repr document with
  | Pp.Ppcmd_string text -> add_escaped buffer text
  | Pp.Ppcmd_glue documents -> List.iter (add_line buffer) documents
  | Pp.Ppcmd_box (_, document) | Pp.Ppcmd_tag (_, document) -> add_line buffer document
  | Pp.Ppcmd_print_break (width, _) -> if width <= 3 then for _ = 1 to width do Buffer.add_char buffer ' ' done
  | Pp.Ppcmd_force_newline -> Buffer.add_char buffer ' '
  | Pp.Ppcmd_empty | Pp.Ppcmd_comment _ -> ()

let line document =
  let buffer = Buffer.create 256 in
  add_line buffer document;
  Buffer.contents buffer

let fields = String.concat (String.make 1 separator)
let truth value = if value then "1" else "0"
let number = string_of_int

(* ------------------------------------------------------------------------------------------------ goals *)

(* [n, m : nat] are neighbours of one type: a line for each. *)
let add_hypothesis buffer env sigma declaration =
  let names =
    match declaration with
    | Context.Compacted.Declaration.LocalAssum (names, _) | Context.Compacted.Declaration.LocalDef (names, _, _) ->
        List.map (fun name -> Names.Id.to_string name.Context.binder_name) names
  in
  let text = line (Printer.pr_compacted_decl env sigma declaration) in
  let together = String.length (String.concat ", " names) in
  let rest = String.sub text together (String.length text - together) in
  List.iter
    (fun name ->
      Buffer.add_string buffer name;
      Buffer.add_string buffer rest;
      Buffer.add_char buffer '\n')
    names

let environment sigma goal = Evd.evar_filtered_env (Global.env ()) (Evd.find_undefined sigma goal)
let conclusion sigma goal = Evd.evar_concl (Evd.find_undefined sigma goal)

let goal_text sigma goal =
  let buffer, env = (Buffer.create 1024, environment sigma goal) in
  let hypotheses = Termops.compact_named_context (Environ.named_context env) in
  Context.Compacted.fold (fun declaration () -> add_hypothesis buffer env sigma declaration) hypotheses ~init:();
  Buffer.add_string buffer "\xe2\x8a\xa2 ";
  add_line buffer (Printer.pr_letype_env ~goal_concl_style:true env sigma (conclusion sigma goal));
  Buffer.contents buffer

(* Also in what is not printed, such as implicit arguments. *)
let has_variable sigma goal =
  let occurs term = Evarutil.has_undefined_evars sigma term in
  let in_hypothesis = function
    | Context.Named.Declaration.LocalAssum (_, kind) -> occurs kind
    | Context.Named.Declaration.LocalDef (_, body, kind) -> occurs body || occurs kind
  in
  occurs (conclusion sigma goal) || List.exists in_hypothesis (EConstr.named_context (environment sigma goal))

let shown_goals proof =
  let { Proof.sigma; goals; stack; _ } = Proof.data proof in
  let shelved, given_up = (List.length (Evd.shelf sigma), Evar.Set.cardinal (Evd.given_up sigma)) in
  let behind = List.fold_left (fun count (left, right) -> count + List.length left + List.length right) 0 stack in
  let others = behind + shelved + given_up in
  let count = List.length goals in
  let apart = others = 0 && (count < 2 || not (List.exists (has_variable sigma) goals)) in
  [ truth (stack <> []); number shelved; number given_up; number (count + others); truth apart ] @ List.map (goal_text sigma) goals

let no_goals = [ "0"; "0"; "0"; "0"; "1" ]

(* ------------------------------------------------------------------------------------------------ states *)

(* [mode]: how sentences are read there; tactics are sentences within a proof alone. *)
type state = { coq : Vernacstate.t; mode : Pvernac.proof_mode option }

let states : (int, state) Hashtbl.t = Hashtbl.create 4096

let state_of number =
  match Hashtbl.find_opt states number with Some state -> state | None -> raise (Refused "the state before this one is not there")

let in_proof state = Option.has_some state.coq.Vernacstate.lemmas

let depth state =
  let rec count = function None -> 0 | Some stack -> 1 + count (snd (Vernacstate.LemmaStack.pop stack)) in
  count state.coq.Vernacstate.lemmas

(* Text after the sentence would go unread. *)
let read state text =
  let stream = Pcoq.Parsable.make ~loc:(Loc.initial Loc.ToplevelInput) (Stream.of_string text) in
  let next () = Vernacstate.Parser.parse state.coq.Vernacstate.parsing (Pvernac.main_entry state.mode) stream in
  match next () with
  | None -> raise (Refused "there is no sentence")
  | Some sentence -> if Option.has_some (next ()) then raise (Refused "there is more than one sentence") else sentence

let nested_allowed () =
  match Goptions.OptionMap.find_opt Vernac_classifier.stm_allow_nested_proofs_option_name (Goptions.get_tables ()) with
  | Some { Goptions.opt_value = Goptions.BoolValue allowed; _ } -> allowed
  | _ -> false

(* Also: what a sentence does to the reading of those after it; some are refused that Coq understands in a document alone. *)
let run state text =
  let sentence = read state text in
  let kind = Vernac_classifier.classify_vernac sentence in
  (match kind with
  | Vernacextend.VtMeta -> raise (Refused "a command that goes back in the text is not understood here")
  | Vernacextend.VtStartProof _ when in_proof state && not (nested_allowed ()) ->
      raise (Refused "a proof begins within a proof; nested proofs are not allowed by default")
  | _ -> ());
  let coq = Vernacinterp.interp ~verbosely:false ~st:state.coq sentence in
  let after = { coq; mode = state.mode } in
  match kind with
  | Vernacextend.VtProofMode name -> { after with mode = Pvernac.lookup_proof_mode name }
  | _ when not (in_proof after) -> { after with mode = None }
  | _ when depth after <> depth state -> { after with mode = Some (Vernacinterp.get_default_proof_mode ()) }
  | _ -> after

let shown state =
  match state.coq.Vernacstate.lemmas with
  | None -> no_goals
  | Some stack -> shown_goals (Declare.Proof.get (Vernacstate.LemmaStack.get_top stack))

(* ------------------------------------------------------------------------------------------------ requests *)

(* What Coq prints matters where it was asked for that alone. *)
let listening = ref false
let notices : string list ref = ref []

let collect { Feedback.contents; _ } =
  match contents with
  | Feedback.Message (Feedback.Notice, _, document) when !listening -> notices := line document :: !notices
  | _ -> ()

(* An interrupt ends a request that is worked on, but not while a table is half changed; one that comes between two requests ends the
   next one. *)
let working = ref false

let interrupted _ = if !working then raise Sys.Break else Control.interrupt := true

let proofs = Buffer.create 256

let keep name state =
  working := false;
  Hashtbl.replace states name state;
  Buffer.add_char proofs (if in_proof state then '1' else '0');
  working := true

let walk first from texts =
  let step (name, state) text =
    let state = run state text in
    keep name state;
    Control.check_for_interrupt ();
    (name + 1, state)
  in
  ignore (List.fold_left step (first, state_of from) texts);
  [ Buffer.contents proofs ]

let tried name from text =
  let state = run (state_of from) text in
  let goals = shown state in
  keep name state;
  Buffer.contents proofs :: goals

let said from text =
  notices := [];
  listening := true;
  ignore (run (state_of from) text);
  List.rev !notices

(* To show an error may take as long as a tactic, or fail. *)
let reason = function
  | Refused reason, _ -> reason
  | error -> (
      try line (CErrors.iprint error) with Sys.Break -> line (CErrors.iprint (Sys.Break, Exninfo.null)) | _ -> "an error that cannot be shown")

let answer_to work =
  Buffer.clear proofs;
  listening := false;
  try
    working := true;
    Control.check_for_interrupt ();
    let found = work () in
    working := false;
    "+" :: found
  with error ->
    let shown = reason (Exninfo.capture error) in
    working := false;
    Vernacstate.invalidate_cache ();
    [ "-"; shown; Buffer.contents proofs ]

let serve input output =
  let answer work =
    output_string output (fields (answer_to work));
    output_string output end_mark;
    flush output
  in
  let text bytes = really_input_string input (int_of_string bytes) in
  let rec next () =
    (match String.split_on_char ' ' (input_line input) with
    | "walk" :: first :: from :: sizes ->
        let texts = List.map text sizes in
        answer (fun () -> walk (int_of_string first) (int_of_string from) texts)
    | [ "try"; name; from; bytes ] ->
        let text = text bytes in
        answer (fun () -> tried (int_of_string name) (int_of_string from) text)
    | [ "say"; from; bytes ] ->
        let text = text bytes in
        answer (fun () -> said (int_of_string from) text)
    | [ "ready" ] -> answer (fun () -> [])
    | "forget" :: numbers -> List.iter (fun number -> Hashtbl.remove states (int_of_string number)) numbers
    | _ -> failwith "this is no request");
    next ()
  in
  try next () with End_of_file -> ()

(* ------------------------------------------------------------------------------------------------ the beginning *)

let usage = { Boot.Usage.executable_name = "coq-snapshots"; extra_args = ""; extra_options = "" }

let begin_library () =
  let options, () = Coqinit.parse_arguments ~parse_extra:(fun words -> ((), words)) ~usage () in
  let injections = Coqinit.init_runtime options in
  Flags.quiet := true;
  Flags.load_vos_libraries := true;
  Coqinit.start_library ~top:(Coqargs.dirpath_of_top options.Coqargs.config.Coqargs.logic.Coqargs.toplevel_name) injections;
  Hashtbl.replace states 0 { coq = Vernacstate.freeze_interp_state ~marshallable:false; mode = None }

let () =
  (* Only answers go to stdout: whatever else is printed there goes to stderr. *)
  let output = Unix.out_channel_of_descr (Unix.dup Unix.stdout) in
  Unix.dup2 Unix.stderr Unix.stdout;
  Coqinit.init_ocaml ();
  Sys.set_signal Sys.sigint (Sys.Signal_handle interrupted);
  ignore (Feedback.add_feeder collect);
  (try begin_library ()
   with error ->
     prerr_endline (line (CErrors.iprint (Exninfo.capture error)));
     exit 1);
  serve stdin output
